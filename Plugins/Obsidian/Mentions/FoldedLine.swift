/// A line as search compares it, and where each of its bytes comes from.
struct FoldedLine {
    private(set) var bytes: [UInt8] = []
    /// For each byte, and for the end, the place in the line's own bytes.
    private var origins: [Int] = []

    init(_ line: ArraySlice<UInt8>) {
        var place = 0
        for scalar in String(decoding: line, as: UTF8.self).unicodeScalars {
            for byte in Folding.bytes(String(Character(scalar))) {
                bytes.append(byte)
                origins.append(place)
            }
            place += UTF8.width(scalar)
        }
        origins.append(place)
    }

    /// What the folded bytes are in the line, from its beginning.
    func origin(of range: Range<Int>) -> Range<Int> { origins[range.lowerBound]..<origins[range.upperBound] }

    /// Every place of a folded text.
    func places(of text: [UInt8]) -> [Range<Int>] {
        guard !text.isEmpty else { return [] }
        var places: [Range<Int>] = []
        var start = 0
        while let place = bytes.firstPlace(of: text, in: start..<bytes.count) {
            places.append(place..<place + text.count)
            start = place + text.count
        }
        return places
    }
}
