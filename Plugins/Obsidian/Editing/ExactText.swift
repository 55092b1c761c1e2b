import CVaultShims
import KnapPlugin

/// Where an exact text is in a part of a note.
///
/// Exact but for how lines end, which is the note's business; and never in the middle of what a reader takes for one
/// character.
struct ExactText {
    private let text: TextLines
    private let scope: Range<Int>
    private let wanted: [UInt8]

    /// - Parameter scope: In bytes.
    init(_ wanted: String, in text: TextLines, scope: Range<Int>) {
        self.text = text
        self.scope = scope
        self.wanted = Array(wanted.replacing("\r\n", with: "\n").utf8)
    }

    /// The one place where it is.
    func place(_ path: VaultPath) throws(VaultError) -> Range<Int> {
        var places = places()
        // Some programs compose what others write with combining marks.
        if places.isEmpty, wanted.contains(where: { $0 >= 0x80 }) { places = equivalents() }
        guard let place = places.first else { throw missing(path) }
        guard places.count == 1 else {
            let lines = places.prefix(10).map { "\(text.line(at: $0.lowerBound) + 1)" }.joined(separator: ", ")
            let more = places.count > 10 ? ", …" : ""
            throw VaultError(
                .failedPrecondition,
                "the text to find is in '\(path)' \(places.count) times, at the lines \(lines)\(more); "
                    + "give more of what surrounds the one you mean, or a heading, block or lines",
                details: ["lines": .array(places.prefix(10).map { .number(JSONNumber(text.line(at: $0.lowerBound) + 1)) })])
        }
        return place
    }

    private static let most = 1_000

    private func places() -> [Range<Int>] {
        let line = wanted.prefix { $0 != UInt8(ascii: "\n") }
        // Of a text that begins with a line break, the break.
        let first = line.isEmpty ? wanted.prefix(1) : line
        var places: [Range<Int>] = []
        var at = scope.lowerBound
        // Also where they overlap: of three dashes nobody knows which two are meant.
        while places.count < Self.most, let start = find(Array(first), from: at) {
            at = start + 1
            if let place = match(at: start), isWhole(place) { places.append(place) }
        }
        return places
    }

    private func find(_ part: [UInt8], from start: Int) -> Int? {
        guard start < scope.upperBound, !part.isEmpty else { return nil }
        return text.bytes.withUnsafeBytes { bytes in
            // The range is in the array, and the array is not empty.
            guard let base = bytes.baseAddress, let found = memmem(base + start, scope.upperBound - start, part, part.count)
            else { return nil }
            return UnsafeRawPointer(found) - base
        }
    }

    private func match(at start: Int) -> Range<Int>? {
        var at = start
        // The break of a line takes in its carriage return.
        if wanted.first == UInt8(ascii: "\n"), at > scope.lowerBound, text.bytes[at - 1] == UInt8(ascii: "\r") { at -= 1 }
        let begin = at
        for byte in wanted {
            if byte == UInt8(ascii: "\n"), at + 1 < scope.upperBound, text.bytes[at] == UInt8(ascii: "\r"),
                text.bytes[at + 1] == UInt8(ascii: "\n")
            {
                at += 1
            }
            guard at < scope.upperBound, text.bytes[at] == byte else { return nil }
            at += 1
        }
        return begin..<at
    }

    /// Not a letter without its accent, nor one of several people in an emoji.
    private func isWhole(_ place: Range<Int>) -> Bool {
        if let next = scalar(at: place.upperBound),
            next.properties.isGraphemeExtend || next == "\u{200D}" || next.properties.isEmojiModifier
        {
            return false
        }
        let joiner: [UInt8] = [0xE2, 0x80, 0x8D]
        return !text.bytes[..<place.lowerBound].suffix(3).elementsEqual(joiner)
    }

    private func scalar(at place: Int) -> Unicode.Scalar? {
        guard place < text.bytes.count, text.bytes[place] >= 0x80 else { return nil }
        return String(decoding: text.bytes[place..<min(place + 4, text.bytes.count)], as: UTF8.self).unicodeScalars.first
    }

    /// The same in Unicode's sense, for notes that are not too long for it.
    private func equivalents() -> [Range<Int>] {
        guard scope.count <= 1 << 20 else { return [] }
        let part = String(decoding: text.bytes[scope], as: UTF8.self)
        return part.ranges(of: String(decoding: wanted, as: UTF8.self)).map { found in
            let start = scope.lowerBound + part.utf8.distance(from: part.startIndex, to: found.lowerBound)
            return start..<start + part.utf8.distance(from: found.lowerBound, to: found.upperBound)
        }
    }

    // MARK: What is near

    /// How many lines are compared to say what was probably meant.
    private static let compared = 5_000
    /// Longer lines are not compared with what is like them, in bytes.
    private static let comparable = 200

    private func missing(_ path: VaultPath) -> VaultError {
        let wanted = TextLines(String(decoding: self.wanted, as: UTF8.self))
        let inside = scope.isEmpty ? 0..<0 : text.lines(touching: scope)
        var hint = ""
        if let first = (0..<wanted.lines.count).first(where: { !wanted.isBlank($0) }) {
            let (line, count) = longestMatch(wanted, from: first, in: inside)
            if count > 0, first + count < wanted.lines.count, line + count < text.lines.count {
                hint = "; line \(line + 1) is its line \(first + 1), but line \(line + count + 1) is '\(shown(line + count))'"
            } else if wanted.lines[first].count <= Self.comparable {
                let lines = inside.prefix(Self.compared)
                let near = nearest(to: wanted.text(line: first), among: lines.lazy.map { text.text(line: $0) })
                let place = near.flatMap { near in lines.first { text.text(line: $0) == near } }
                hint = place.map { "; the nearest line is \($0 + 1): '\(shown($0))'" } ?? ""
            }
        }
        let part = scope.count < text.bytes.count ? "this part of " : ""
        return VaultError(
            .notFound, "\(part)'\(path)' does not contain the text to find\(hint); it must match exactly, also in white space")
    }

    /// Where the most lines of the wanted text stand one after the other.
    private func longestMatch(_ wanted: TextLines, from first: Int, in inside: Range<Int>) -> (line: Int, count: Int) {
        var best = (line: 0, count: 0)
        for line in inside.prefix(Self.compared) {
            var count = 0
            while first + count < wanted.lines.count, line + count < text.lines.count,
                text.bytes[text.lines[line + count]].elementsEqual(wanted.bytes[wanted.lines[first + count]])
            {
                count += 1
            }
            if count > best.count { best = (line, count) }
        }
        return best
    }

    private func shown(_ line: Int) -> String {
        let text = text.text(line: line)
        return text.count > 200 ? text.prefix(200) + "…" : text
    }
}
