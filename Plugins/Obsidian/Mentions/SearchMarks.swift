/// Where in a line what a query looks for is.
struct SearchMarks {
    private struct Wanted {
        var text: String
        var isExpression: Bool
        var matchesCase: Bool
    }

    private var wanted: [Wanted] = []

    init(_ query: SearchQuery) { collect(query, false) }

    /// What must not be there is not looked for, and what is asked of a name is not in a line.
    private mutating func collect(_ query: SearchQuery, _ cased: Bool) {
        switch query {
        case .all(let parts), .any(let parts): for part in parts { collect(part, cased) }
        case .not, .number: break
        case .word(let text), .phrase(let text):
            wanted.append(Wanted(text: text, isExpression: false, matchesCase: cased))
        case .regex(let text): wanted.append(Wanted(text: text, isExpression: true, matchesCase: cased))
        case .scoped(.file, _), .scoped(.path, _): break
        case .scoped(.matchCase, let part): collect(part, true)
        case .scoped(.ignoreCase, let part): collect(part, false)
        case .scoped(_, let part): collect(part, cased)
        case .property(let name, let value):
            collect(name, cased)
            if let value { collect(value, cased) }
        }
    }

    /// In bytes of the line, in order and apart.
    func places(in line: String) throws -> [Range<Int>] {
        let bytes = Array(line.utf8)
        let folded = FoldedLine(bytes[...])
        var places: [Range<Int>] = []
        for each in wanted {
            if each.isExpression {
                let expression = try RegularExpression(each.text)
                places += try Self.matches(
                    RegularExpressionMatcher(expression, ignoresCase: !each.matchesCase, check: {}), bytes)
            } else if each.matchesCase {
                var start = 0
                let text = Array(each.text.utf8)
                while !text.isEmpty, let place = bytes.firstPlace(of: text, in: start..<bytes.count) {
                    places.append(place..<place + text.count)
                    start = place + text.count
                }
            } else {
                places += folded.places(of: Folding.bytes(each.text)).map(folded.origin)
            }
        }
        return Self.joined(places)
    }

    private static func matches(_ matcher: RegularExpressionMatcher, _ bytes: [UInt8]) throws -> [Range<Int>] {
        var places: [Range<Int>] = []
        var from = 0
        while from < bytes.count, let end = try matcher.firstEnd(in: bytes, from..<bytes.count) {
            // The matcher knows where it ends; it begins at the last place from which it still ends there.
            var begin = end
            while begin > from,
                try begin == end || bytes[begin] & 0xC0 == 0x80 || matcher.firstEnd(in: bytes, begin..<end) != end
            { begin -= 1 }
            if end > begin { places.append(begin..<end) }
            from = max(end, from + 1)
            while from < bytes.count, bytes[from] & 0xC0 == 0x80 { from += 1 }
        }
        return places
    }

    private static func joined(_ places: [Range<Int>]) -> [Range<Int>] {
        places.sorted { ($0.lowerBound, $0.upperBound) < ($1.lowerBound, $1.upperBound) }.reduce(into: []) {
            joined, place in
            guard let last = joined.last, place.lowerBound <= last.upperBound else { return joined.append(place) }
            joined[joined.count - 1] = last.lowerBound..<max(last.upperBound, place.upperBound)
        }
    }
}
