import KnapPlugin

/// One edit of a note's text.
///
/// The target is found first, and where it is missing or not the only one nothing is edited. Only lines of the target
/// change, or new ones come beside them.
struct NoteEdit {
    private let request: EditRequest
    private let path: VaultPath
    private let text: TextLines
    private let content: [String]

    init(_ request: EditRequest, text: String, path: VaultPath) {
        self.request = request
        self.path = path
        self.text = TextLines(text)
        content = request.content.map(TextLines.lines) ?? []
    }

    private enum Target {
        case note
        case heading(NoteOutline.Entry)
        case block(NamedBlock)
        case lines(Range<Int>)
    }

    private var note: ParsedNote { NoteParser.parse(String(decoding: text.bytes, as: UTF8.self)) }

    func applied() throws(VaultError) -> String {
        switch request.action {
        case .setProperty, .removeProperty: return try withProperty()
        default: break
        }
        let target = try target()
        if let find = request.find { return edited(at: try ExactText(find, in: text, scope: scope(target)).place(path)) }
        switch target {
        case .note: return edited()
        case .heading(let heading): return edited(heading)
        case .block(let block): return try edited(block)
        case .lines(let lines): return edited(lines)
        }
    }

    /// The lines that the edit is about, to show them to somebody who knew others; nil where they are not to be found.
    func shown() -> String? {
        guard let target = try? target() else { return nil }
        var lines: Range<Int>
        switch target {
        case .note: lines = 0..<text.ownCount
        case .heading(let heading): lines = heading.section
        case .block(let block): lines = block.lines
        case .lines(let range): lines = range
        }
        if let find = request.find {
            guard let place = try? ExactText(find, in: text, scope: scope(target)).place(path) else { return nil }
            let inside = text.lines(touching: place)
            lines = max(0, inside.lowerBound - 3)..<min(text.ownCount, inside.upperBound + 3)
        }
        return text.text(text.lines[lines.lowerBound].lowerBound..<text.next(lines.upperBound - 1))
    }

    // MARK: Where

    private func target() throws(VaultError) -> Target {
        if let heading = request.heading {
            let entry = try NoteOutline(text, note).find(heading, path: path)
            guard !entry.isNested else {
                throw VaultError(
                    .failedPrecondition,
                    "the heading '\(heading)' of '\(path)' is in a quote or a list and divides only that; edit it with find or lines, at line \(entry.heading.line + 1)")
            }
            return .heading(entry)
        }
        if let block = request.block { return .block(try NamedBlock.find(block, in: text, note, path: path)) }
        guard let lines = request.lines else { return .note }
        guard lines.upperBound <= text.lines.count else {
            throw VaultError(.outOfRange, "'\(path)' has \(text.ownCount) lines, and no line \(lines.upperBound)")
        }
        return .lines(lines)
    }

    /// In bytes.
    private func scope(_ target: Target) -> Range<Int> {
        let lines: Range<Int>
        switch target {
        case .note: return text.lines[0].lowerBound..<text.bytes.count
        case .heading(let heading): lines = heading.section
        case .block(let block): lines = block.lines
        case .lines(let range): lines = range
        }
        return text.lines[lines.lowerBound].lowerBound..<text.next(lines.upperBound - 1)
    }

    // MARK: What

    private func edited(at place: Range<Int>) -> String {
        let lines = text.lines(touching: place)
        switch request.action {
        case .insertBefore: return text.inserting(content, before: lines.lowerBound)
        case .insertAfter: return text.inserting(content, before: lines.upperBound)
        case .delete:
            // Of a line that it was alone on nothing is left.
            let whole = text.lines[lines.lowerBound].lowerBound..<text.lines[lines.upperBound - 1].upperBound
            return whole == place ? text.replacing(lines: lines, with: []) : text.replacing(place, with: "")
        default:
            let end = text.lineEnd(near: lines.lowerBound)
            let content = (request.content ?? "").replacing("\r\n", with: "\n").replacing("\n", with: end)
            return text.replacing(place, with: content)
        }
    }

    /// The whole note: at its end, or under its properties.
    private func edited() -> String {
        let body = FrontMatter.bounds(text).map { $0.end + 1 } ?? 0
        if request.action == .prepend { return text.inserting(content, before: body) }
        return text.inserting(content, before: body < text.ownCount ? text.trimmed(body..<text.ownCount).upperBound : body)
    }

    private func edited(_ lines: Range<Int>) -> String {
        switch request.action {
        case .replace: return text.replacing(lines: lines, with: content)
        case .delete: return text.replacing(lines: lines, with: [])
        case .prepend, .insertBefore: return text.inserting(content, before: lines.lowerBound)
        default: return text.inserting(content, before: lines.upperBound)
        }
    }

    /// A section: its text changes and its heading stays, unless the new text begins with a heading that could not be in it.
    private func edited(_ heading: NoteOutline.Entry) -> String {
        let body = heading.lines.upperBound..<max(heading.lines.upperBound, heading.section.upperBound)
        let inner = text.trimmed(body)
        switch request.action {
        case .delete: return text.replacing(lines: heading.section, with: [])
        case .insertBefore: return insertingApart(content, before: heading.section.lowerBound)
        case .insertAfter: return insertingApart(content, before: inner.upperBound)
        case .prepend: return text.inserting(content, before: body.lowerBound)
        case .append: return text.inserting(content, before: inner.upperBound)
        default:
            let first = content.first { !$0.trimmed.isEmpty }.map { TextLines($0) }
            let level = first.flatMap { line in BlockStart.heading(line.bytes[line.indent(line.lines[0]).start...]) }
            let old = level.map { $0 <= heading.heading.level } == true ? heading.section.lowerBound..<inner.upperBound : inner
            if content.isEmpty { return inner.isEmpty ? text.inserting([], before: 0) : text.replacing(lines: body.lowerBound..<inner.upperBound, with: []) }
            return old.isEmpty ? text.inserting(content, before: old.lowerBound) : text.replacing(lines: old, with: content)
        }
    }

    private func edited(_ block: NamedBlock) throws(VaultError) -> String {
        switch request.action {
        case .replace:
            let new = block.named(block.placed(content, block.prefix(in: text)))
            guard !new.isEmpty else { return text.replacing(lines: block.lines, with: []) }
            let end = text.lineEnd(near: block.lines.lowerBound)
            return text.replacing(block.start..<text.lines[block.lines.upperBound - 1].upperBound, with: new.joined(separator: end))
        case .delete:
            return text.replacing(lines: block.lines.lowerBound..<max(block.lines.upperBound, block.idLine + 1), with: [])
        case .insertBefore:
            let new = beside(block)
            if case .item = block.kind { return text.inserting(new, before: block.lines.lowerBound) }
            return insertingApart(new, before: block.lines.lowerBound)
        case .insertAfter:
            let new = beside(block)
            if case .item = block.kind { return text.inserting(new, before: block.lines.upperBound) }
            return insertingApart(new, before: max(block.lines.upperBound, block.idLine + 1))
        default: return try growing(block)
        }
    }

    /// A content as lines of what a block is in.
    private func beside(_ block: NamedBlock) -> [String] {
        let prefix = block.prefix(in: text)
        return block.placed([""] + content, prefix).dropFirst().map(\.self)
    }

    /// More text in a block, at its end or its beginning.
    private func growing(_ block: NamedBlock) throws(VaultError) -> String {
        let isAppending = request.action == .append
        switch block.kind {
        case .item(let own):
            return text.inserting(block.inside(content, in: text), before: isAppending ? block.lines.upperBound : own.upperBound)
        case .section(.paragraph):
            guard isAppending else { return text.inserting(beside(block), before: block.lines.lowerBound) }
            guard block.hasOwnID else { return text.inserting(beside(block), before: block.lines.upperBound) }
            // The id stays the last of the block.
            let new = beside(block)
            let last = block.lines.upperBound - 1
            guard !new.isEmpty else { return text.inserting([], before: 0) }
            return text.replacing(lines: last..<last + 1, with: [block.lastLine(in: text)] + block.named(new))
        case .section(.list) where isAppending, .section(.table) where isAppending, .section(.blockquote) where isAppending,
            .section(.callout) where isAppending:
            return text.inserting(beside(block), before: block.lines.upperBound)
        case .section(.list):
            return text.inserting(beside(block), before: block.lines.lowerBound)
        case .section(let kind):
            throw VaultError(
                .failedPrecondition,
                "nothing can be \(isAppending ? "appended" : "prepended") to the block '^\(block.id)' of '\(path)', which is \(kind.rawValue); "
                    + "use replace, insert_before or insert_after, or lines: it has the lines \(block.lines.lowerBound + 1)-\(block.lines.upperBound)")
        }
    }

    /// Between blank lines, so that neither neighbour takes it for its own.
    private func insertingApart(_ content: [String], before line: Int) -> String {
        guard !content.isEmpty else { return text.inserting([], before: 0) }
        let isFirst = line == 0 || text.isBlank(line - 1) || FrontMatter.bounds(text)?.end == line - 1
        let isLast = line >= text.ownCount || text.isBlank(line)
        return text.inserting((isFirst ? [] : [""]) + content + (isLast ? [] : [""]), before: line)
    }

    private func withProperty() throws(VaultError) -> String {
        let key = request.property ?? ""
        let text = String(decoding: text.bytes, as: UTF8.self)
        do throws(VaultError) {
            guard request.action == .setProperty, let value = request.value else { return try FrontMatterEditor.remove(key, in: text) }
            return try FrontMatterEditor.set(key, to: value, in: text)
        } catch {
            throw VaultError(error.code, "the property '\(key)' of '\(path)' cannot be changed: \(error.message)")
        }
    }
}
