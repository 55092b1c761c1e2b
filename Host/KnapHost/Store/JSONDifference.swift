import KnapJSON

/// Where two JSON values first differ.
struct JSONDifference {
    let pointer: JSONPointer
    let left: JSON?
    let right: JSON?

    /// None when the values are equal; members in the order of `left`, then those that only `right` has.
    static func first(_ left: JSON?, _ right: JSON?, at pointer: JSONPointer = JSONPointer()) -> JSONDifference? {
        switch (left, right) {
        case (.object(let a), .object(let b)):
            for name in a.names + b.names.filter({ a[$0] == nil }) {
                if let found = first(a[name], b[name], at: pointer.appending(name)) { return found }
            }
            return nil
        case (.array(let a), .array(let b)):
            for index in 0..<max(a.count, b.count) {
                let (x, y) = (index < a.count ? a[index] : nil, index < b.count ? b[index] : nil)
                if let found = first(x, y, at: pointer.appending(index)) { return found }
            }
            return nil
        default:
            return left == right ? nil : JSONDifference(pointer: pointer, left: left, right: right)
        }
    }
}
