/// The headings of a note as links name them: `#A`, or `#A#B` for the `B` below an `A`.
struct HeadingPaths {
    let headings: [Heading]
    private let names: [String]

    init(_ headings: [Heading]) {
        self.headings = headings
        names = headings.map { HeadingText.compared(HeadingText.title(of: $0)) }
    }

    static func parts(of subpath: String) -> [String] { subpath.split(separator: "#").map(String.init) }

    /// The heading that each part of a chain means, the first that there are; nil for a chain that leads nowhere.
    func resolve(_ parts: [String]) -> [Int]? {
        let wanted = parts.map { HeadingText.compared($0) }
        guard !wanted.isEmpty, !wanted.contains("") else { return nil }
        func search(_ chain: [Int], _ range: Range<Int>) -> [Int]? {
            if chain.count == wanted.count { return chain }
            for place in range where names[place] == wanted[chain.count] {
                if let found = search(chain + [place], (place + 1)..<sectionEnd(place)) { return found }
            }
            return nil
        }
        return search([], headings.indices)
    }

    /// The heading behind a heading's section: the next of its level or above.
    func sectionEnd(_ place: Int) -> Int {
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
        return chain.map { HeadingText.linked(HeadingText.title(of: headings[$0])) }
    }
}
