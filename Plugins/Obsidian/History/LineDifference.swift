/// What is the same in two texts, line by line, and what is not (Myers, "An O(ND) Difference Algorithm", 1986, as the
/// standard library has it).
struct LineDifference {
    /// Lines that were replaced by others; either may be none.
    struct Hunk: Hashable {
        var old: Range<Int>
        var new: Range<Int>
    }

    let old: [Substring]
    let new: [Substring]
    /// In order, with lines between them that are the same.
    private(set) var hunks: [Hunk] = []

    init(from old: String, to new: String) {
        self.init(from: Self.lines(of: old), to: Self.lines(of: new))
    }

    init(from old: [Substring], to new: [Substring]) {
        self.old = old
        self.new = new
        // What is common at both ends costs nothing.
        var start = 0
        while start < min(old.count, new.count), old[start].utf8.elementsEqual(new[start].utf8) { start += 1 }
        var end = 0
        while end < min(old.count, new.count) - start,
            old[old.count - 1 - end].utf8.elementsEqual(new[new.count - 1 - end].utf8)
        { end += 1 }
        let (oldCore, newCore) = (start..<(old.count - end), start..<(new.count - end))
        if oldCore.isEmpty && newCore.isEmpty { return }
        // Two long texts that have little in common are one hunk: to find more would take its square of time.
        guard oldCore.count + newCore.count <= 4_000 else {
            hunks = [Hunk(old: oldCore, new: newCore)]
            return
        }
        hunks = Self.hunks(Array(old[oldCore]), Array(new[newCore])).map { hunk in
            Hunk(
                old: (hunk.old.lowerBound + start)..<(hunk.old.upperBound + start),
                new: (hunk.new.lowerBound + start)..<(hunk.new.upperBound + start))
        }
    }

    private static func hunks(_ old: [Substring], _ new: [Substring]) -> [Hunk] {
        var removed: Set<Int> = []
        var inserted: Set<Int> = []
        for change in new.difference(from: old, by: { $0.utf8.elementsEqual($1.utf8) }) {
            switch change {
            case .remove(let offset, _, _): removed.insert(offset)
            case .insert(let offset, _, _): inserted.insert(offset)
            }
        }
        var hunks: [Hunk] = []
        var (left, right) = (0, 0)
        while left < old.count || right < new.count {
            let (fromOld, fromNew) = (left, right)
            while left < old.count, removed.contains(left) { left += 1 }
            while right < new.count, inserted.contains(right) { right += 1 }
            if left > fromOld || right > fromNew {
                hunks.append(Hunk(old: fromOld..<left, new: fromNew..<right))
            } else {
                left += 1
                right += 1
            }
        }
        return hunks
    }

    /// With their line ends, so that put together they are the text again.
    static func lines(of text: String) -> [Substring] {
        var lines: [Substring] = []
        var start = text.startIndex
        while let end = text.utf8[start...].firstIndex(of: UInt8(ascii: "\n")) {
            let next = text.utf8.index(after: end)
            lines.append(text[start..<next])
            start = next
        }
        if start < text.endIndex { lines.append(text[start...]) }
        return lines
    }

    // MARK: - As text

    /// In the unified format (POSIX, `diff -u`), without the names of files; empty where nothing differs.
    func unified(context: Int = 3) -> String {
        var text = ""
        var rest = hunks[...]
        while let first = rest.popFirst() {
            var group = [first]
            while let next = rest.first, let last = group.last, next.old.lowerBound - last.old.upperBound <= 2 * context {
                group.append(rest.removeFirst())
            }
            text += unified(group, context)
        }
        return text
    }

    private func unified(_ group: [Hunk], _ context: Int) -> String {
        guard let first = group.first, let last = group.last else { return "" }
        let lead = min(context, first.old.lowerBound)
        let trail = min(context, old.count - last.old.upperBound)
        let oldRange = (first.old.lowerBound - lead)..<(last.old.upperBound + trail)
        let newRange = (first.new.lowerBound - lead)..<(last.new.upperBound + trail)
        var text = "@@ -\(Self.place(oldRange)) +\(Self.place(newRange)) @@\n"
        func add(_ mark: String, _ lines: ArraySlice<Substring>) {
            for line in lines {
                text += mark + line
                if !line.utf8.elementsEqual("\n".utf8), line.utf8.last != UInt8(ascii: "\n") {
                    text += "\n\\ No newline at end of file\n"
                }
            }
        }
        var at = oldRange.lowerBound
        for hunk in group {
            add(" ", old[at..<hunk.old.lowerBound])
            add("-", old[hunk.old])
            add("+", new[hunk.new])
            at = hunk.old.upperBound
        }
        add(" ", old[at..<oldRange.upperBound])
        return text
    }

    private static func place(_ range: Range<Int>) -> String {
        let start = range.isEmpty ? range.lowerBound : range.lowerBound + 1
        return range.count == 1 ? "\(start)" : "\(start),\(range.count)"
    }
}
