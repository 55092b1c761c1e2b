/// Lists of numbers by number: nearly all in one piece of memory, and what changed since beside it.
struct Adjacency: Sendable {
    private var starts: [Int32] = [0]
    private var values: [Int32] = []
    private var changed: [Int32: [Int32]] = [:]

    /// Of pairs in which the list's number is above the value, sorted and each once.
    init(pairs: [UInt64] = [], count: Int = 0) {
        values.reserveCapacity(pairs.count)
        starts.reserveCapacity(count + 1)
        for pair in pairs {
            let list = Int(pair >> 32)
            while starts.count <= list { starts.append(Int32(values.count)) }
            values.append(Int32(truncatingIfNeeded: pair))
        }
        while starts.count <= count { starts.append(Int32(values.count)) }
    }

    /// In ascending order.
    subscript(list: Int32) -> ArraySlice<Int32> {
        if !changed.isEmpty, let list = changed[list] { return list[...] }
        guard Int(list) + 1 < starts.count else { return [] }
        return values[Int(starts[Int(list)])..<Int(starts[Int(list) + 1])]
    }

    mutating func set(_ list: Int32, _ values: [Int32]) {
        changed[list] = values
        if changed.count > 1024 + starts.count / 8 { gather() }
    }

    mutating func insert(_ value: Int32, into list: Int32) {
        var values = Array(self[list])
        let place = Self.place(of: value, in: values[...])
        guard place == values.count || values[place] != value else { return }
        values.insert(value, at: place)
        set(list, values)
    }

    mutating func remove(_ value: Int32, from list: Int32) {
        var values = Array(self[list])
        let place = Self.place(of: value, in: values[...])
        guard place < values.count, values[place] == value else { return }
        values.remove(at: place)
        set(list, values)
    }

    func contains(_ value: Int32, in list: Int32) -> Bool {
        let values = self[list]
        let place = Self.place(of: value, in: values)
        return place < values.endIndex && values[place] == value
    }

    private static func place(of value: Int32, in values: ArraySlice<Int32>) -> Int {
        var low = values.startIndex
        var high = values.endIndex
        while low < high {
            let middle = (low + high) / 2
            if values[middle] < value { low = middle + 1 } else { high = middle }
        }
        return low
    }

    private mutating func gather() {
        let count = max(starts.count - 1, Int(changed.keys.max() ?? -1) + 1)
        var gathered = Adjacency()
        for list in 0..<Int32(count) {
            gathered.values += self[list]
            gathered.starts.append(Int32(gathered.values.count))
        }
        self = gathered
    }
}
