/// A line of a note as an answer shows it, with the places of what was looked for.
struct MarkedLine: Sendable, Equatable {
    /// In Unicode scalars.
    private static let longest = 200, before = 60

    let text: String
    /// Begin and end of each place, in Unicode scalars of the text.
    let marks: [[Int]]

    /// - Parameter places: In bytes of the line. A long line is cut to what surrounds the first.
    init(_ line: ArraySlice<UInt8>, places: [Range<Int>]) {
        let scalars = Array(String(decoding: line, as: UTF8.self).unicodeScalars)
        var ends: [Int] = []
        var place = 0
        for scalar in scalars {
            ends.append(place)
            place += UTF8.width(scalar)
        }
        func number(_ byte: Int) -> Int { ends.firstIndex { $0 >= byte } ?? scalars.count }
        var numbers = places.map { number($0.lowerBound)..<number($0.upperBound) }
        var shown = 0..<scalars.count
        while let first = shown.first, scalars[first].properties.isWhitespace { shown = first + 1..<shown.upperBound }
        while let last = shown.last, scalars[last].properties.isWhitespace { shown = shown.lowerBound..<last }
        var (prefix, suffix) = ("", "")
        if shown.count > Self.longest {
            let first = numbers.first?.lowerBound ?? shown.lowerBound
            let start = max(shown.lowerBound, min(first - Self.before, shown.upperBound - Self.longest))
            let end = min(shown.upperBound, start + Self.longest)
            (prefix, suffix) = (start > shown.lowerBound ? "…" : "", end < shown.upperBound ? "…" : "")
            shown = start..<end
        }
        var text = String.UnicodeScalarView()
        text.append(contentsOf: scalars[shown])
        self.text = prefix + String(text) + suffix
        numbers = numbers.map { $0.clamped(to: shown) }.filter { !$0.isEmpty }
        let shift = prefix.unicodeScalars.count - shown.lowerBound
        marks = numbers.map { [$0.lowerBound + shift, $0.upperBound + shift] }
    }
}
