/// The vectors of a vault's chunks in memory, one behind the other, so that all of them can be compared with a question.
///
/// Ten thousand notes of five chunks are 13 MB: less than what an index of neighbours would have to be asked, and exact.
struct VectorTable: Sendable {
    private struct Part: Sendable {
        var first: Int32
        var end: Int32
        var heading: String
    }

    private struct Note: Sendable {
        var path: String
        /// As conditions on folders compare it.
        var folder: String
        var version: String
        var rows: [Int32]
    }

    /// A note by its best chunk.
    struct Hit: Sendable, Equatable {
        var path: String
        /// The cosine of the angle between its vector and the question's.
        var similarity: Float
        /// From 0.
        var lines: Range<Int>
        var heading: String
    }

    // Of each row: its numbers, what they are multiples of, whose it is (-1: nobody's, it is free), and what it is of.
    private var numbers: [Int8] = []
    private var scales: [Float] = []
    private var owners: [Int32] = []
    private var parts: [Part] = []
    private var free: [Int32] = []
    private var notes: [Note?] = []
    private var freeNotes: [Int32] = []
    private var places: [String: Int32] = [:]

    var count: Int { places.count }
    var paths: some Collection<String> { places.keys }

    func version(of path: String) -> String? { places[path].flatMap { notes[Int($0)]?.version } }

    mutating func put(_ note: VectorStore.Note) {
        remove(note.path)
        let place = freeNotes.popLast() ?? Int32(notes.count)
        let rows = note.chunks.map { put($0, of: place) }
        let known = Note(
            path: note.path, folder: folded(VaultPath(trusted: note.path).folder), version: note.version, rows: rows)
        if Int(place) == notes.count { notes.append(known) } else { notes[Int(place)] = known }
        places[note.path] = place
    }

    private mutating func put(_ chunk: VectorStore.Chunk, of note: Int32) -> Int32 {
        let part = Part(
            first: Int32(clamping: chunk.lines.lowerBound), end: Int32(clamping: chunk.lines.upperBound),
            heading: chunk.heading)
        guard let row = free.popLast() else {
            numbers += chunk.vector.numbers
            scales.append(chunk.vector.scale)
            owners.append(note)
            parts.append(part)
            return Int32(owners.count - 1)
        }
        let start = Int(row) * EmbeddingTable.width
        numbers.replaceSubrange(start..<start + EmbeddingTable.width, with: chunk.vector.numbers)
        scales[Int(row)] = chunk.vector.scale
        owners[Int(row)] = note
        parts[Int(row)] = part
        return row
    }

    mutating func remove(_ path: String) {
        guard let place = places.removeValue(forKey: path), let note = notes[Int(place)] else { return }
        for row in note.rows { owners[Int(row)] = -1 }
        free += note.rows
        notes[Int(place)] = nil
        freeNotes.append(place)
    }

    /// The notes nearest to a question, nearest first, each as near as its best chunk; equals by their paths.
    ///
    /// - Parameters:
    ///   - folder: Only this folder and those below it.
    ///   - allowed: Only these notes, if there are any to name.
    ///   - least: Only what is nearer than that.
    func nearest(
        to question: QuantisedVector, folder: String? = nil, among allowed: Set<String>? = nil, least: Float, most: Int
    ) -> [Hit] {
        let best = best(question)
        let folder = folder.map { folded($0.hasSuffix("/") ? String($0.dropLast()) : $0) } ?? ""
        var found: [(note: Int, similarity: Float)] = []
        var bar = least
        for (place, row) in best.enumerated() where row.similarity > bar {
            guard let note = notes[place],
                folder.isEmpty || note.folder == folder || note.folder.hasPrefix(folder + "/"),
                allowed?.contains(note.path) ?? true
            else { continue }
            found.append((place, row.similarity))
            // Only the best are ever put in order.
            guard found.count >= most * 4 else { continue }
            sort(&found, most)
            bar = found.last.map { max(bar, $0.similarity.nextDown) } ?? bar
        }
        sort(&found, most)
        return found.compactMap { place, similarity in
            guard let note = notes[place] else { return nil }
            let part = parts[Int(best[place].row)]
            return Hit(
                path: note.path, similarity: similarity, lines: Int(part.first)..<Int(part.end), heading: part.heading)
        }
    }

    private func sort(_ found: inout [(note: Int, similarity: Float)], _ most: Int) {
        found.sort { left, right in
            left.similarity != right.similarity
                ? left.similarity > right.similarity
                : notes[left.note]?.path ?? "" < notes[right.note]?.path ?? ""
        }
        found.removeSubrange(min(most, found.count)...)
    }

    /// Of each note its best row.
    private func best(_ question: QuantisedVector) -> [(similarity: Float, row: Int32)] {
        var best = [(similarity: Float, row: Int32)](repeating: (-.infinity, -1), count: notes.count)
        question.numbers.withUnsafeBufferPointer { question in
            numbers.withUnsafeBufferPointer { numbers in
                // Without an address there is no row, or no number in the question.
                guard let question = question.baseAddress, let base = numbers.baseAddress else { return }
                for (row, owner) in owners.enumerated() where owner >= 0 {
                    let product = QuantisedVector.product(question, base + row * EmbeddingTable.width)
                    let similarity = Float(product) * scales[row]
                    if similarity > best[Int(owner)].similarity { best[Int(owner)] = (similarity, Int32(row)) }
                }
            }
        }
        for place in best.indices { best[place].similarity *= question.scale }
        return best
    }
}
