/// Finds names in the text of a note where they are no links: whole words, without regard to case and diacritics.
struct MentionFinder {
    struct Name: Sendable {
        let text: String
        let folded: [UInt8]

        /// Nil where nothing is left to look for.
        init?(_ text: String) {
            self.text = text
            folded = Folding.bytes(text)
            if folded.allSatisfy({ $0 == 0x20 }) || folded.contains(0x0A) { return nil }
        }
    }

    struct Mention: Sendable, Equatable {
        /// Which of the names.
        var name: Int
        /// From 0.
        var line: Int
        /// In bytes of the line.
        var place: Range<Int>
    }

    let names: [Name]

    /// In order. Where names overlap, the one that begins first and then the longest is meant.
    func mentions(in text: String) -> [Mention] {
        let folded = Folding.bytes(text)
        var found: [(name: Int, place: Int)] = []
        for (number, name) in names.enumerated() {
            var start = 0
            while let place = folded.firstPlace(of: name.folded, in: start..<folded.count) {
                let range = place..<place + name.folded.count
                start = range.upperBound
                if WordRule.isWhole(range, in: folded), !Self.isInBrackets(range, folded) {
                    found.append((number, place))
                }
            }
        }
        guard !found.isEmpty else { return [] }
        return placed(found, folded, text)
    }

    /// Most notes that have the name have it in a link alone: those need no closer look.
    private static func isInBrackets(_ range: Range<Int>, _ bytes: [UInt8]) -> Bool {
        let open = UInt8(ascii: "[")
        let close = UInt8(ascii: "]")
        guard range.lowerBound >= 2, bytes[range.lowerBound - 1] == open, bytes[range.lowerBound - 2] == open,
            range.upperBound + 1 < bytes.count
        else { return false }
        return bytes[range.upperBound] == close && bytes[range.upperBound + 1] == close
    }

    private func placed(_ found: [(name: Int, place: Int)], _ folded: [UInt8], _ text: String) -> [Mention] {
        let lines = TextLines(text)
        let view = NoteText.View(folded)
        let prose = Prose(text)
        var mentions: [Mention] = []
        var line: (number: Int, folded: FoldedLine) = (-1, FoldedLine([]))
        // The first in the text, and the longest of those that begin together.
        let sorted = found.sorted {
            ($0.place, -names[$0.name].folded.count, $0.name) < ($1.place, -names[$1.name].folded.count, $1.name)
        }
        var end = 0
        for each in sorted where each.place >= end {
            let number = view.line(of: each.place)
            guard number < lines.lines.count else { continue }
            if line.number != number { line = (number, FoldedLine(lines.bytes[lines.lines[number]])) }
            let start = each.place - view.starts[number]
            let range = start..<start + names[each.name].folded.count
            guard range.upperBound <= line.folded.bytes.count else { continue }
            let place = line.folded.origin(of: range)
            let begin = lines.lines[number].lowerBound
            guard prose.contains(begin + place.lowerBound..<begin + place.upperBound) else { continue }
            end = each.place + names[each.name].folded.count
            mentions.append(Mention(name: each.name, line: number, place: place))
        }
        return mentions
    }
}
