/// Who may do what with part of a vault, as the operator wrote it.
struct PathRule: Codable, Sendable, Hashable {
    enum Access: String, Codable, Sendable, Comparable {
        /// Not even known to be there.
        case none
        case read
        case write

        private var rank: Int {
            switch self {
            case .none: 0
            case .read: 1
            case .write: 2
            }
        }

        static func < (left: Access, right: Access) -> Bool { left.rank < right.rank }
    }

    /// A folder with all that is in it, a file, or a pattern of paths: `*` and `?` stand for characters of a name, `**`
    /// for any.
    var path: String
    var access: Access
    /// The vault's name or folder; nil for all.
    var vault: String?
    /// For whom; `*` stands for any characters. Nil for everybody.
    var callers: [String]?

    func concerns(_ caller: String) -> Bool { callers?.contains { Glob($0, isPath: false).matches(caller) } ?? true }

    /// As it is shown to those whom it refuses something.
    var shown: String { "{\"path\": \"\(path)\", \"access\": \"\(access.rawValue)\"}" }
}

/// What may be done with each path of a vault: the last rule that fits a path decides, and without one everything may.
struct PathAccess: Sendable, Hashable {
    let rules: [PathRule]
    private let globs: [Glob]

    static let all = PathAccess([])

    init(_ rules: [PathRule]) {
        self.rules = rules
        globs = rules.map { rule in
            let path = rule.path.hasPrefix("/") ? String(rule.path.dropFirst()) : rule.path
            return Glob(path.hasSuffix("/") ? String(path.dropLast()) : path, isPath: true)
        }
    }

    /// The rule that decides about a path; nil where none does. The plugin's own business, such as the trash, has none.
    func rule(for path: String) -> PathRule? {
        guard !rules.isEmpty, !path.hasPrefix(".") else { return nil }
        return globs.lastIndex { $0.matches(path) }.map { rules[$0] }
    }

    func level(of path: String) -> PathRule.Access { rule(for: path)?.access ?? .write }

    func sees(_ path: String) -> Bool { level(of: path) > .none }

    /// Names what belongs to these rules.
    var id: String {
        let texts = rules.map { "\($0.path)\u{0}\($0.access.rawValue)" }
        return String(ContentVersion.of(Array(texts.joined(separator: "\u{1}").utf8)).prefix(12))
    }

    static func == (left: PathAccess, right: PathAccess) -> Bool { left.rules == right.rules }
    func hash(into hasher: inout Hasher) { hasher.combine(rules) }
}

/// A pattern of paths or names, compared without regard to case.
struct Glob: Sendable {
    private enum Part: Sendable, Equatable {
        case character(Character), one, some, any
    }

    private let parts: [Part]
    private let isPath: Bool

    /// - Parameter isPath: `*` stops at a `/`, and what is below a path that fits, fits too.
    init(_ text: String, isPath: Bool) {
        self.isPath = isPath
        var parts: [Part] = []
        for character in folded(text) {
            switch character {
            case "*" where parts.last == .some || parts.last == .any: parts[parts.count - 1] = .any
            case "*": parts.append(isPath ? .some : .any)
            case "?": parts.append(.one)
            default: parts.append(.character(character))
            }
        }
        self.parts = parts
    }

    func matches(_ text: String) -> Bool {
        let text = Array(folded(text))
        // The places in the pattern that can have been reached; each character moves them on.
        var reached = closure([0])
        if isPath, parts.isEmpty { return true }
        for character in text {
            if isPath, character == "/", reached.contains(parts.count) { return true }
            var next: Set<Int> = []
            for place in reached where place < parts.count {
                switch parts[place] {
                case .character(let wanted): if wanted == character { next.insert(place + 1) }
                case .one: if !isPath || character != "/" { next.insert(place + 1) }
                case .some: if character != "/" { next.insert(place) }
                case .any: next.insert(place)
                }
            }
            reached = closure(next)
            if reached.isEmpty { return false }
        }
        return reached.contains(parts.count)
    }

    /// Stars may stand for nothing.
    private func closure(_ places: Set<Int>) -> Set<Int> {
        var all = places
        var new = Array(places)
        while let place = new.popLast() {
            guard place < parts.count, parts[place] == .some || parts[place] == .any, all.insert(place + 1).inserted else { continue }
            new.append(place + 1)
        }
        return all
    }
}
