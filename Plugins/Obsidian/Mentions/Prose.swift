/// The parts of a note in which a link could be made: no front matter, no code, no math, no HTML, no address, no tag,
/// and nothing that is a link already.
struct Prose {
    /// In bytes of the text, in order.
    private(set) var pieces: [Range<Int>] = []

    private let text: TextLines
    /// What the parser knows to be no plain text: its end by its beginning.
    private var known: [Int: Int] = [:]
    private var inComment = false

    init(_ text: String) {
        self.text = TextLines(text)
        let note = NoteParser.parse(text)
        for range in note.links.map(\.range) + note.tags.map(\.range) + note.footnoteReferences.map(\.range) {
            known[range.lowerBound] = range.upperBound
        }
        let front = FrontMatter.bounds(self.text)?.end
        let blocks = BlockScanner.scan(self.text, from: front.map { $0 + 1 } ?? 0, front: nil)
        for (line, start) in blocks.prose.enumerated() {
            if let start {
                scan(start, self.text.lines[line].upperBound, isWhole: start == self.text.lines[line].lowerBound)
            } else {
                inComment = false
            }
        }
    }

    func contains(_ range: Range<Int>) -> Bool {
        var low = 0
        var high = pieces.count
        while low < high {
            let middle = (low + high) / 2
            if pieces[middle].upperBound <= range.lowerBound { low = middle + 1 } else { high = middle }
        }
        return low < pieces.count && pieces[low].lowerBound <= range.lowerBound
            && range.upperBound <= pieces[low].upperBound
    }

    private mutating func scan(_ start: Int, _ end: Int, isWhole: Bool) {
        if isWhole, isDefinition(start, end) { return }
        var at = start
        var piece = start
        var canBegin = true
        while at < end {
            let next = inComment ? behindComment(at, end) : behind(at, end, canBegin: canBegin)
            guard let next else {
                canBegin = !WordRule.isWord(Unicode.Scalar(text.bytes[at]))
                at += 1
                continue
            }
            if at > piece { pieces.append(piece..<at) }
            at = next
            piece = next
            canBegin = true
        }
        if end > piece { pieces.append(piece..<end) }
    }

    /// Where what begins here and is no plain text ends; nil for plain text.
    private mutating func behind(_ at: Int, _ end: Int, canBegin: Bool) -> Int? {
        if let known = known[at] { return min(known, end) }
        switch text.bytes[at] {
        case UInt8(ascii: "\\"): return min(at + 2, end)
        case UInt8(ascii: "`"): return behindCode(at, end)
        case UInt8(ascii: "$"): return behindMath(at, end)
        case UInt8(ascii: "<"):
            guard matches("<!--", at, end) else { return behindTag(at, end) }
            inComment = true
            return behindComment(at + 4, end)
        case UInt8(ascii: "!") where at + 1 < end && text.bytes[at + 1] == UInt8(ascii: "["):
            return behindLink(at + 1, end)
        case UInt8(ascii: "["): return behindLink(at, end)
        case 0x41...0x5A, 0x61...0x7A: return canBegin ? behindAddress(at, end) : nil
        default: return nil
        }
    }

    private mutating func behindComment(_ at: Int, _ end: Int) -> Int {
        var place = at
        while place < end {
            if matches("-->", place, end) {
                inComment = false
                return place + 3
            }
            place += 1
        }
        return end
    }

    private func behindCode(_ at: Int, _ end: Int) -> Int? {
        let count = text.bytes[at..<end].prefix { $0 == UInt8(ascii: "`") }.count
        var place = at + count
        while place < min(end, at + TextLines.longestPart) {
            let run = text.bytes[place..<end].prefix { $0 == UInt8(ascii: "`") }.count
            if run == count { return place + run }
            place += max(run, 1)
        }
        return at + count
    }

    private func behindMath(_ at: Int, _ end: Int) -> Int? {
        let count = matches("$$", at, end) ? 2 : 1
        var place = at + count
        guard place < end, count == 2 || text.bytes[place] != 0x20 else { return nil }
        while place < min(end, at + TextLines.longestPart) {
            if text.bytes[place] == UInt8(ascii: "\\") {
                place += 1
            } else if text.bytes[place] == UInt8(ascii: "$") {
                if count == 2, matches("$$", place, end) { return place + 2 }
                if count == 1, place > at + 1, text.bytes[place - 1] != 0x20,
                    place + 1 >= end || !(0x30...0x39).contains(text.bytes[place + 1])
                {
                    return place + 1
                }
            }
            place += 1
        }
        return nil
    }

    private func behindTag(_ at: Int, _ end: Int) -> Int? {
        guard at + 1 < end else { return nil }
        let next = text.bytes[at + 1]
        guard (0x61...0x7A).contains(next | 0x20) || next == UInt8(ascii: "/") else { return nil }
        return text.bytes[at..<min(end, at + TextLines.longestPart)].firstIndex(of: UInt8(ascii: ">")).map { $0 + 1 }
    }

    /// `[text](address)` and `[text][name]`, which lead out of the vault; those into it the parser knows.
    private func behindLink(_ at: Int, _ end: Int) -> Int? {
        guard let close = text.closing(UInt8(ascii: "["), UInt8(ascii: "]"), at + 1, end), close + 1 < end else {
            return nil
        }
        switch text.bytes[close + 1] {
        case UInt8(ascii: "("): return text.closing(UInt8(ascii: "("), UInt8(ascii: ")"), close + 2, end).map { $0 + 1 }
        case UInt8(ascii: "["): return text.closing(UInt8(ascii: "["), UInt8(ascii: "]"), close + 2, end).map { $0 + 1 }
        default: return nil
        }
    }

    /// `[name]: address`, alone on its line.
    private func isDefinition(_ start: Int, _ end: Int) -> Bool {
        let begin = text.bytes[start..<end].firstIndex { $0 != 0x20 } ?? end
        guard begin < end, text.bytes[begin] == UInt8(ascii: "["), !matches("[^", begin, end),
            let close = text.closing(UInt8(ascii: "["), UInt8(ascii: "]"), begin + 1, end)
        else { return false }
        return matches("]:", close, end)
    }

    private func behindAddress(_ at: Int, _ end: Int) -> Int? {
        let scheme = text.bytes[at..<min(end, at + 20)].prefix {
            (0x61...0x7A).contains($0 | 0x20) || (0x30...0x39).contains($0) || $0 == 0x2B
        }
        guard matches("://", at + scheme.count, end) || matches("www.", at, end) else { return nil }
        return at
            + text.bytes[at..<end].prefix { $0 > 0x20 && $0 != UInt8(ascii: ">") && $0 != UInt8(ascii: ")") }.count
    }

    private func matches(_ string: StaticString, _ at: Int, _ end: Int) -> Bool {
        let count = string.utf8CodeUnitCount
        guard at >= 0, at + count <= end else { return false }
        return (0..<count).allSatisfy { text.bytes[at + $0] == string.utf8Start[$0] }
    }
}
