/// A vector of length 1 in a quarter of its memory: each number as a multiple of the greatest one's 127th part.
///
/// Each is wrong by half of that at most, so the product of two such vectors is wrong by less than 0.01 where that of
/// different texts varies by tenths.
struct QuantisedVector: Sendable, Equatable {
    var numbers: [Int8]
    var scale: Float

    init(numbers: [Int8], scale: Float) {
        self.numbers = numbers
        self.scale = scale
    }

    init(_ vector: [Float]) {
        let greatest = vector.reduce(0) { max($0, $1.magnitude) }
        scale = greatest / 127
        let factor = greatest > 0 ? 127 / greatest : 0
        numbers = vector.map { Int8(($0 * factor).rounded()) }
    }

    var vector: [Float] { numbers.map { Float($0) * scale } }

    /// The sum of the products of the numbers of two vectors; their scales are left to the caller.
    static func product(_ left: UnsafePointer<Int8>, _ right: UnsafePointer<Int8>) -> Int32 {
        var sum: Int32 = 0
        for place in 0..<EmbeddingTable.width { sum &+= Int32(Int16(left[place]) &* Int16(right[place])) }
        return sum
    }
}
