extension JSONObject {
    /// Of two members with one name the last wins, in the place of the first.
    public init(_ members: some Sequence<(String, JSON)>) {
        for (name, value) in members { self[name] = value }
    }

    public var count: Int { members.count }
    public var isEmpty: Bool { members.isEmpty }
    public var names: [String] { members.map(\.name) }

    public subscript(name: String) -> JSON? {
        get { place(of: name).map { members[$0].value } }
        set {
            switch (place(of: name), newValue) {
            case (let place?, let value?): members[place].value = value
            case (nil, let value?): append(name, value)
            case (let place?, nil):
                members.remove(at: place)
                if !index.isEmpty { rebuildIndex() }
            case (nil, nil): break
            }
        }
    }

    /// Adds a member whose name is known to be new.
    mutating func append(_ name: String, _ value: JSON) {
        members.append((name, value))
        if !index.isEmpty {
            index[MemberName(name)] = members.count - 1
        } else if members.count > Self.indexedFrom {
            rebuildIndex()
        }
    }

    func place(of name: String) -> Int? {
        let wanted = MemberName(name)
        return index.isEmpty ? members.firstIndex { MemberName($0.name) == wanted } : index[wanted]
    }

    private mutating func rebuildIndex() {
        index.removeAll(keepingCapacity: true)
        guard members.count > Self.indexedFrom else { return }
        index.reserveCapacity(members.count)
        for (place, member) in members.enumerated() { index[MemberName(member.name)] = place }
    }
}

extension JSONObject: Sequence {
    public func makeIterator() -> IndexingIterator<[Member]> { members.makeIterator() }
}

extension JSONObject: ExpressibleByDictionaryLiteral {
    public init(dictionaryLiteral elements: (String, JSON)...) { self.init(elements) }
}

// Equal when the same names have equal values, in whatever order (RFC 8259 §4: an unordered collection).
extension JSONObject: Hashable {
    public static func == (left: JSONObject, right: JSONObject) -> Bool {
        left.count == right.count && left.members.allSatisfy { right[$0.name] == $0.value }
    }

    public func hash(into hasher: inout Hasher) {
        var sum = 0
        for (name, value) in members {
            var member = Hasher()
            member.combine(MemberName(name))
            member.combine(value)
            sum &+= member.finalize()
        }
        hasher.combine(sum)
    }
}

/// A member's name. Two are the same when their code points are: unlike Swift's strings, JSON's are not compared by
/// canonical equivalence, or one member of `{"é": 1, "é": 2}`, written in two normal forms, would hide the other.
struct MemberName: Hashable, Sendable {
    private let text: String

    init(_ text: String) { self.text = text }

    static func == (left: MemberName, right: MemberName) -> Bool {
        // Swift's own comparison finds most differences at once.
        left.text.utf8.count == right.text.utf8.count && left.text == right.text
            && left.text.utf8.elementsEqual(right.text.utf8)
    }

    func hash(into hasher: inout Hasher) {
        var text = text
        text.withUTF8 { hasher.combine(bytes: UnsafeRawBufferPointer($0)) }
    }
}
