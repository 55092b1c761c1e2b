import Glibc
import KnapJSON

/// JSON as text for people: objects as `name: value`, lists of objects as tables. It knows no method's answer, so that
/// a plugin's new fields show without a new `knap`. Numbers whose names end in `_ms` are shown as times or durations.
enum Render {
    static func text(_ json: JSON) -> String { Rendering().text(json) }

    /// A table of `rows`, with the columns named first that are there, then the others in the order they appear.
    static func table(_ rows: [JSON], first preferred: [String] = []) -> String {
        Rendering().table(rows, first: preferred)
    }
}

/// The same for one command: in a style, and with what is set off in its texts.
struct Rendering {
    /// A single object with more members than these is no table.
    private static let mostOfOneRow = 8

    var style = TerminalStyle.plain
    /// By the names of members that are text the names of those beside them that say which parts of it are set off:
    /// lists of begin and end in Unicode scalars. These are not shown themselves.
    var highlight: [String: String] = [:]

    func text(_ json: JSON) -> String {
        switch json {
        case .object(let object): members(object, indent: "")
        case .array(let elements): list(elements, indent: "")
        default: style.shown(Self.scalar(json))
        }
    }

    func table(_ rows: [JSON], first preferred: [String] = []) -> String {
        let objects = rows.compactMap(\.objectValue)
        var columns: [String] = []
        for name in preferred + objects.flatMap({ visible($0).map(\.name) }) where !columns.contains(name) {
            if objects.contains(where: { Self.isScalar($0[name] ?? .array([])) }) { columns.append(name) }
        }
        let cells = objects.map { object in
            columns.map { name in (object[name].map { Self.cell($0, name) } ?? "", marks(of: name, in: object)) }
        }
        let widths = columns.indices.map { column in
            max(Self.label(columns[column]).count, cells.map { $0[column].0.count }.max() ?? 0)
        }
        func line(_ texts: [(plain: String, shown: String)]) -> String {
            var line = ""
            let last = texts.lastIndex { !$0.plain.isEmpty } ?? -1
            for (column, text) in texts.enumerated() where column <= last {
                let pad =
                    column < last ? String(repeating: " ", count: max(0, widths[column] - text.plain.count) + 2) : ""
                line += text.shown + pad
            }
            return String(line.reversed().drop { $0 == " " }.reversed())
        }
        let head = columns.map { Self.label($0).uppercased() }
        let lines =
            [line(head.map { ($0, style.heading($0)) })]
            + cells.map { line($0.map { ($0.0, style.shown($0.0, marks: $0.1)) }) }
        return lines.joined(separator: "\n")
    }

    /// Without those that only say what is set off.
    private func visible(_ object: JSONObject) -> [(name: String, value: JSON)] {
        object.members.filter { member in
            !highlight.contains { $0.value == member.name && object[$0.key] != nil }
        }.map { ($0.name, $0.value) }
    }

    private func marks(of name: String, in object: JSONObject) -> [Range<Int>] {
        guard let other = highlight[name] else { return [] }
        return (object[other]?.arrayValue ?? []).compactMap { pair in
            guard let begin = pair.arrayValue?.first?.intValue, let end = pair.arrayValue?.last?.intValue, begin < end
            else { return nil }
            return begin..<end
        }
    }

    private func members(_ object: JSONObject, indent: String) -> String {
        visible(object).map { name, value in
            switch value {
            case .object(let inner) where !inner.isEmpty:
                "\(indent)\(style.heading(name)):\n" + members(inner, indent: indent + "  ")
            case .array(let elements) where !elements.isEmpty && !elements.allSatisfy(Self.isScalar):
                "\(indent)\(style.heading(name)):\n" + list(elements, indent: indent + "  ")
            case .string(let text) where text.contains(where: \.isNewline):
                "\(indent)\(style.heading(Self.label(name))):\n"
                    + text.split(separator: "\n", omittingEmptySubsequences: false)
                    .map { $0.isEmpty ? "" : "\(indent)  \(style.shown(String($0)))" }.joined(separator: "\n")
            default:
                "\(indent)\(style.heading(Self.label(name))): \(style.shown(Self.cell(value, name), marks: marks(of: name, in: object)))"
            }
        }.joined(separator: "\n")
    }

    private func list(_ elements: [JSON], indent: String) -> String {
        let isTable =
            !elements.isEmpty
            && elements.allSatisfy { $0.objectValue.map { visible($0).allSatisfy { Self.isScalar($0.value) } } == true }
            // One row would be all width.
            && (elements.count > 1 || elements[0].objectValue?.count ?? 0 <= Self.mostOfOneRow)
        if isTable {
            return table(elements).split(separator: "\n").map { indent + $0 }.joined(separator: "\n")
        }
        return elements.map { element in
            switch element {
            case .object(let object):
                indent + "- " + members(object, indent: indent + "  ").drop { $0 == " " }
            case .array(let inner): indent + "- " + list(inner, indent: indent + "  ").drop { $0 == " " }
            default: indent + "- " + style.shown(Self.scalar(element))
            }
        }.joined(separator: "\n")
    }

    private static func isScalar(_ json: JSON) -> Bool {
        switch json {
        case .object, .array: false
        default: true
        }
    }

    /// In a table a line break would break the line.
    private static func cell(_ json: JSON, _ name: String) -> String {
        if name.hasSuffix(milliseconds), let value = json.intValue { return time(value) }
        let text =
            switch json {
            case .array(let elements) where elements.allSatisfy(isScalar): elements.map(scalar).joined(separator: ", ")
            case .array, .object: json.serialized()
            default: scalar(json)
            }
        return String(text.map { $0.isNewline ? " " : $0 })
    }

    private static let milliseconds = "_ms"

    private static func label(_ name: String) -> String {
        (name.hasSuffix(milliseconds) ? String(name.dropLast(milliseconds.count)) : name).replacing("_", with: " ")
    }

    /// Milliseconds: since 1970 as a local time, or a duration. No duration is as long as 30 years.
    private static func time(_ value: Int) -> String {
        guard value >= 1_000_000_000_000 else {
            return value % 1000 == 0 ? "\(value / 1000) s" : value < 1000 ? "\(value) ms" : "\(Double(value) / 1000) s"
        }
        var (seconds, parts) = (time_t(value / 1000), tm())
        localtime_r(&seconds, &parts)
        return withUnsafeTemporaryAllocation(of: CChar.self, capacity: 32) { text in
            strftime(text.baseAddress!, text.count, "%Y-%m-%d %H:%M:%S", &parts)  // 19 characters fit
            return String(cString: text.baseAddress!)
        }
    }

    private static func scalar(_ json: JSON) -> String {
        switch json {
        case .string(let text): text
        case .null: "-"
        default: json.serialized()
        }
    }
}
