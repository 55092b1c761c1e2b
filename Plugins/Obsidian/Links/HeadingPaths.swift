/// The headings of a note as links name them: `#A`, or `#A#B` for the `B` below an `A`.
struct HeadingPaths {
    let headings: [Heading]
    private let names: [String]

    init(_ headings: [Heading]) {
        self.headings = headings
        names = headings.map { Self.normalized(Self.title(of: $0)) }
    }

    /// Its text without the `^id` behind it.
    static func title(of heading: Heading) -> String {
        guard let id = BlockStart.blockID(Array(heading.text.utf8)[...]), heading.text.utf8.count > id.utf8.count + 1 else {
            return heading.text
        }
        return String(heading.text.dropLast(id.count + 1).trimmed)
    }

    /// What two headings have in common for a link: neither case, nor repeated blanks, nor what links cannot have.
    static func normalized(_ text: some StringProtocol) -> String { folded(linkText(text)) }

    /// A heading as it stands in a link, which has no use for `#|^:%%[[]]`.
    static func linkText(_ text: some StringProtocol) -> String {
        var plain = String(text)
        for mark in ["%%", "[[", "]]", "#", "|", "^", ":", "\\"] { plain = plain.replacing(mark, with: " ") }
        return plain.split(whereSeparator: \.isWhitespace).joined(separator: " ")
    }

    static func parts(of subpath: String) -> [String] { subpath.split(separator: "#").map(String.init) }

    /// The heading that each part of a chain means, the first that there are; nil for a chain that leads nowhere.
    func resolve(_ parts: [String]) -> [Int]? { chains(parts.map(Self.normalized), most: 1).first }

    /// Those that a person may mean by a heading's text, or by a chain of them.
    func meant(by text: String) -> [Int] {
        let whole = Self.normalized(text)
        let named = names.indices.filter { names[$0] == whole }
        guard named.isEmpty else { return named }
        return Set(chains(Self.parts(of: text).map(Self.normalized), most: 100).compactMap(\.last)).sorted()
    }

    private func chains(_ wanted: [String], most: Int) -> [[Int]] {
        guard !wanted.isEmpty, !wanted.contains("") else { return [] }
        var found: [[Int]] = []
        func search(_ chain: [Int], _ range: Range<Int>) {
            for place in range where names[place] == wanted[chain.count] {
                guard found.count < most else { return }
                if chain.count + 1 == wanted.count { found.append(chain + [place]) }
                else { search(chain + [place], (place + 1)..<sectionEnd(place)) }
            }
        }
        search([], headings.indices)
        return found
    }

    private func sectionEnd(_ place: Int) -> Int {
        headings[(place + 1)...].firstIndex { $0.level <= headings[place].level } ?? headings.count
    }

    /// The headings above it and itself, as a link has them.
    func chain(to place: Int) -> [String] {
        var chain = [place]
        var level = headings[place].level
        for above in headings[..<place].indices.reversed() where headings[above].level < level {
            chain.insert(above, at: 0)
            level = headings[above].level
        }
        return chain.map { Self.linkText(Self.title(of: headings[$0])) }
    }
}
