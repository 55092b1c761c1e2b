import GRDB

/// Every word that the notes of an index have or had, folded.
///
/// A word is found wherever it stands, also within another (Obsidian matches parts of words), but FTS5 finds only the
/// beginnings of its tokens: the tokens in which it stands further back are looked up here first. A token that no note
/// has any more finds nothing and stays until the index is built anew.
struct Vocabulary {
    /// Each token between two line ends.
    private var text: [UInt8] = [0x0A]
    /// Of hashes: two tokens share one in 64 bits with no probability worth a name.
    private var known: Set<Int> = []
    /// What the disk does not know for sure; kept until a transaction that wrote it has ended well.
    var unsaved: [String] = []

    init(_ terms: some Cursor<String>) throws {
        while let term = try terms.next() {
            var term = term
            _ = term.withUTF8 { learn($0) }
        }
    }

    /// Learns the tokens of a text.
    mutating func learn(_ text: String, _ tokenizer: any FTS5Tokenizer) throws {
        try Folding.forEachToken(of: text, tokenizer) { token in
            if learn(token) { unsaved.append(String(decoding: token, as: UTF8.self)) }
        }
    }

    private mutating func learn(_ token: UnsafeBufferPointer<UInt8>) -> Bool {
        var hasher = Hasher()
        hasher.combine(bytes: UnsafeRawBufferPointer(token))
        guard known.insert(hasher.finalize()).inserted else { return false }
        text += token
        text.append(0x0A)
        return true
    }

    /// The tokens in which a text stands behind the beginning; nil when they are too many.
    func terms(with text: [UInt8], most: Int) -> [String]? {
        var terms: [String] = []
        var start = 0
        while let place = self.text.firstPlace(of: text, in: start..<self.text.count) {
            let end = self.text[place...].firstIndex(of: 0x0A)!
            start = end
            guard self.text[place - 1] != 0x0A else { continue }
            guard terms.count < most else { return nil }
            let begin = self.text[..<place].lastIndex(of: 0x0A)! + 1
            terms.append(String(decoding: self.text[begin..<end], as: UTF8.self))
        }
        return terms
    }
}
