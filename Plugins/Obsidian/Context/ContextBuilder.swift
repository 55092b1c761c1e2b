/// Puts together a note and what is around it, as far as a budget goes: nearest first, and among those equally far in
/// the order of the links.
struct ContextBuilder {
    struct Part: Sendable, Equatable {
        var path: String
        var distance: Int
        /// Where only a heading's section or a block was linked.
        var subpath: String?
        /// The first line of it in the note, from 1.
        var line: Int
        var text: String
        /// The line at which the rest begins that did not fit.
        var cut_at: Int?
    }

    struct LeftOut: Sendable, Equatable {
        var path: String
        var distance: Int
        var subpath: String?
        /// In bytes.
        var size: Int
    }

    let depth: Int
    let hasBacklinks: Bool
    let read: (String) throws -> String?
    /// In bytes; nil for what is not there.
    let size: (String) -> Int?
    let resolve: (_ target: String, _ source: String) -> String?
    let backlinks: (String) throws -> [String]
    let check: () throws -> Void

    /// No part is cut to less than this; what would be is left out.
    private static let leastCut = 400
    /// Bytes of a part's heading.
    private static let heading = 40

    private(set) var parts: [Part] = []
    private(set) var leftOut: [LeftOut] = []

    /// A file to come, and which parts of it are wanted; no subpath stands for the whole.
    private struct Wanted {
        var path: String
        var subpaths: [String]
    }

    init(
        depth: Int, hasBacklinks: Bool, read: @escaping (String) throws -> String?, size: @escaping (String) -> Int?,
        resolve: @escaping (_ target: String, _ source: String) -> String?,
        backlinks: @escaping (String) throws -> [String],
        check: @escaping () throws -> Void = {}
    ) {
        (self.depth, self.hasBacklinks) = (depth, hasBacklinks)
        (self.read, self.size, self.resolve, self.backlinks, self.check) = (read, size, resolve, backlinks, check)
    }

    /// - Parameter budget: In bytes of text.
    mutating func build(from start: String, budget: Int) throws {
        var left = budget
        var seen: Set<String> = [start]
        var level = [Wanted(path: start, subpaths: [])]
        for distance in 0...depth where !level.isEmpty {
            var next: [Wanted] = []
            for (number, wanted) in level.enumerated() {
                try check()
                // Nothing is read that has no room.
                if distance > 0, left / 2 < Self.leastCut, let size = size(wanted.path),
                    !wanted.subpaths.isEmpty || size > left
                {
                    leftOut.append(
                        LeftOut(path: wanted.path, distance: distance, subpath: wanted.subpaths.first, size: size))
                    continue
                }
                // What has gone meanwhile, or is no text, has nothing to say.
                guard let text = try read(wanted.path) else { continue }
                // What does not fit as a whole leaves half of the room to what comes after it.
                let isLast = number == level.count - 1 && distance == depth
                let shown = add(wanted, text, distance, most: isLast ? left : left / 2, left: &left)
                guard distance < depth else { continue }
                for link in links(of: wanted.path, text, in: shown) {
                    if let place = next.firstIndex(where: { $0.path == link.path }) {
                        if next[place].subpaths.isEmpty || link.subpaths.isEmpty {
                            next[place].subpaths = []
                        } else {
                            next[place].subpaths += link.subpaths.filter { !next[place].subpaths.contains($0) }
                        }
                    } else if !seen.contains(link.path) {
                        next.append(link)
                    }
                }
                if hasBacklinks, !shown.isEmpty {
                    for path in try backlinks(wanted.path)
                    where !seen.contains(path) && !next.contains(where: { $0.path == path }) {
                        next.append(Wanted(path: path, subpaths: []))
                    }
                }
            }
            seen.formUnion(next.map(\.path))
            level = next
        }
    }

    /// Adds what is wanted of a note, as far as it fits; returns which bytes of it are shown.
    private mutating func add(
        _ wanted: Wanted, _ text: String, _ distance: Int, most: Int, left: inout Int
    ) -> [Range<Int>] {
        let lines = TextLines(text)
        let note = NoteParser.parse(text)
        let whole = 0..<lines.bytes.count
        // A subpath that is not there leads to the note.
        let places = wanted.subpaths.map { (subpath: $0, range: NotePart.range(of: $0, in: note, size: whole.count)) }
        var ranges: [(subpath: String?, range: Range<Int>)] = []
        if places.isEmpty || places.contains(where: { $0.range == nil }) {
            ranges = [(nil, whole)]
        } else {
            for (subpath, range) in places {
                guard let range,
                    !places.contains(where: { $0.range.map { $0 != range && $0.contains(range) } ?? false }),
                    !ranges.contains(where: { $0.range == range })
                else { continue }
                ranges.append((subpath, range))
            }
        }
        var shown: [Range<Int>] = []
        for (subpath, range) in ranges {
            let cost = Self.heading + wanted.path.utf8.count + (subpath?.utf8.count ?? 0)
            let room = (range.count + cost <= left ? left : most) - cost
            guard range.count <= room || room >= Self.leastCut else {
                leftOut.append(LeftOut(path: wanted.path, distance: distance, subpath: subpath, size: range.count))
                continue
            }
            let end = NotePart.cut(range, to: room, in: note, lines.bytes)
            let place = range.lowerBound..<end
            left -= cost + place.count
            shown.append(place)
            parts.append(
                Part(
                    path: wanted.path, distance: distance, subpath: subpath, line: lines.line(at: range.lowerBound) + 1,
                    text: lines.text(place), cut_at: end < range.upperBound ? lines.line(at: end) + 1 : nil))
        }
        return shown
    }

    /// The notes that the shown bytes of a note link to, in the order of the links.
    private func links(of path: String, _ text: String, in shown: [Range<Int>]) -> [Wanted] {
        guard !shown.isEmpty else { return [] }
        let note = NoteParser.parse(text)
        let front = shown.contains { $0.lowerBound == 0 } ? note.frontMatter?.links ?? [] : []
        let body = note.links.filter { link in shown.contains { $0.contains(link.range) } }
        return (front + body).compactMap { link in
            guard !link.target.isEmpty, let target = resolve(link.target, path), target != path,
                VaultPath(trusted: target).isNote
            else { return nil }
            return Wanted(path: target, subpaths: link.subpath.isEmpty ? [] : [link.subpath])
        }
    }
}

extension Range<Int> {
    fileprivate func contains(_ other: Range<Int>) -> Bool {
        lowerBound <= other.lowerBound && other.upperBound <= upperBound
    }
}
