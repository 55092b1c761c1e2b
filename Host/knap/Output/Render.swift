import Glibc
import KnapJSON

/// JSON as text for people: objects as `name: value`, lists of objects as tables. It knows no method's answer, so that
/// a plugin's new fields show without a new `knap`. Numbers whose names end in `_ms` are shown as times or durations.
enum Render {
    static func text(_ json: JSON) -> String {
        switch json {
        case .object(let object): members(object, indent: "")
        case .array(let elements): list(elements, indent: "")
        default: scalar(json)
        }
    }

    /// A table of `rows`, with the columns named first that are there, then the others in the order they appear.
    static func table(_ rows: [JSON], first preferred: [String] = []) -> String {
        let objects = rows.compactMap(\.objectValue)
        var columns: [String] = []
        for name in preferred + objects.flatMap(\.names) where !columns.contains(name) {
            if objects.contains(where: { isScalar($0[name] ?? .array([])) }) { columns.append(name) }
        }
        let cells = objects.map { object in columns.map { name in object[name].map { cell($0, name) } ?? "" } }
        let widths = columns.indices.map { column in
            max(label(columns[column]).count, cells.map { $0[column].count }.max() ?? 0)
        }
        let lines = [columns.map { label($0).uppercased() }] + cells
        return lines.map { line in
            let padded = zip(line, widths).map { $0 + String(repeating: " ", count: max(0, $1 - $0.count)) }
            return String(padded.joined(separator: "  ").reversed().drop { $0 == " " }.reversed())
        }.joined(separator: "\n")
    }

    private static func members(_ object: JSONObject, indent: String) -> String {
        object.members.map { name, value in
            switch value {
            case .object(let inner) where !inner.isEmpty: "\(indent)\(name):\n" + members(inner, indent: indent + "  ")
            case .array(let elements) where !elements.isEmpty && !elements.allSatisfy(isScalar):
                "\(indent)\(name):\n" + list(elements, indent: indent + "  ")
            case .string(let text) where text.contains(where: \.isNewline):
                "\(indent)\(label(name)):\n" + text.split(separator: "\n", omittingEmptySubsequences: false)
                    .map { $0.isEmpty ? "" : "\(indent)  \($0)" }.joined(separator: "\n")
            default: "\(indent)\(label(name)): \(cell(value, name))"
            }
        }.joined(separator: "\n")
    }

    private static func list(_ elements: [JSON], indent: String) -> String {
        let isTable = !elements.isEmpty && elements.allSatisfy { $0.objectValue?.members.allSatisfy { isScalar($0.value) } == true }
        if isTable {
            return table(elements).split(separator: "\n").map { indent + $0 }.joined(separator: "\n")
        }
        return elements.map { element in
            switch element {
            case .object(let object):
                indent + "- " + members(object, indent: indent + "  ").drop { $0 == " " }
            case .array(let inner): indent + "- " + list(inner, indent: indent + "  ").drop { $0 == " " }
            default: indent + "- " + scalar(element)
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
