/// Puts two changes of one text together, line by line (Khanna, Kunal and Pierce, "A Formal Investigation of Diff3",
/// 2007).
enum ThreeWayMerge {
    enum Outcome<Text: Hashable>: Hashable {
        case merged(Text)
        /// Where both changed the same lines, or lines side by side, each in its own way.
        case conflicts([Conflict])
    }

    /// The same of bytes. What is no text and was changed on both sides conflicts as a whole, without lines to show.
    static func merge(base: [UInt8], ours: [UInt8], theirs: [UInt8]) -> Outcome<[UInt8]> {
        if ours == base { return .merged(theirs) }
        if ours == theirs || theirs == base { return .merged(ours) }
        let texts = [base, ours, theirs].compactMap { String(validating: $0, as: UTF8.self) }
        guard texts.count == 3 else { return .conflicts([]) }
        switch merge(base: texts[0], ours: texts[1], theirs: texts[2]) {
        case .merged(let text): return .merged(Array(text.utf8))
        case .conflicts(let conflicts): return .conflicts(conflicts)
        }
    }

    struct Conflict: Hashable {
        /// The first line in `ours`, from 0.
        var line: Int
        var base: String
        var ours: String
        var theirs: String
    }

    /// Of two changes to the same lines keeps both, ours first, so that nothing is lost.
    static func union(base: String, ours: String, theirs: String) -> String {
        merge(base: base, ours: ours, theirs: theirs, keepsBoth: true).text
    }

    static func merge(base: String, ours: String, theirs: String) -> Outcome<String> {
        let merged = merge(base: base, ours: ours, theirs: theirs, keepsBoth: false)
        return merged.conflicts.isEmpty ? .merged(merged.text) : .conflicts(merged.conflicts)
    }

    private static func merge(
        base: String, ours: String, theirs: String, keepsBoth: Bool
    ) -> (text: String, conflicts: [Conflict]) {
        let left = LineDifference(from: base, to: ours)
        let right = LineDifference(from: base, to: theirs)
        let lines = left.old
        var merged = ""
        var conflicts: [Conflict] = []
        var (leftRest, rightRest) = (left.hunks[...], right.hunks[...])
        var at = 0
        // How far `ours` is ahead of the base.
        var shift = 0
        while let start = [leftRest.first, rightRest.first].compactMap({ $0?.old.lowerBound }).min() {
            merged += lines[at..<start].joined()
            // All hunks of both sides that touch one another make one region.
            var (leftHunks, rightHunks): ([LineDifference.Hunk], [LineDifference.Hunk]) = ([], [])
            var end = start
            while true {
                if let next = leftRest.first, next.old.lowerBound <= end {
                    leftHunks.append(leftRest.removeFirst())
                    end = max(end, next.old.upperBound)
                } else if let next = rightRest.first, next.old.lowerBound <= end {
                    rightHunks.append(rightRest.removeFirst())
                    end = max(end, next.old.upperBound)
                } else {
                    break
                }
            }
            let region = start..<end
            let base = lines[region].joined()
            let ours = text(of: region, leftHunks, left)
            let theirs = text(of: region, rightHunks, right)
            if leftHunks.isEmpty || ours.utf8.elementsEqual(theirs.utf8) {
                merged += theirs
            } else if rightHunks.isEmpty {
                merged += ours
            } else if keepsBoth {
                merged += ours + theirs
            } else {
                conflicts.append(Conflict(line: start + shift, base: base, ours: ours, theirs: theirs))
            }
            shift += leftHunks.reduce(0) { $0 + $1.new.count - $1.old.count }
            at = end
        }
        merged += lines[at...].joined()
        return (merged, conflicts)
    }

    /// What a side has in place of a region of the base.
    private static func text(
        of region: Range<Int>, _ hunks: [LineDifference.Hunk], _ side: LineDifference
    ) -> String {
        var text = ""
        var at = region.lowerBound
        for hunk in hunks {
            text += side.old[at..<hunk.old.lowerBound].joined()
            text += side.new[hunk.new].joined()
            at = hunk.old.upperBound
        }
        return text + side.old[at..<region.upperBound].joined()
    }
}
