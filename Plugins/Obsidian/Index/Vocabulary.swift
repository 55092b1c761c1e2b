import GRDB

/// Every word that the notes of an index have or had, folded.
///
/// A word is found wherever it stands, also within another (Obsidian matches parts of words), but FTS5 finds only the
/// beginnings of its tokens: the tokens in which it stands further back are looked up here first. That is exact, is
/// there at once, and takes less than trigrams: 1 MB for 10,000 notes. A token that no note has any more finds nothing
/// and stays until the index is built anew.
///
/// Not for scripts without spaces, whose tokens are sentences: their parts are found by ``Grams``.
struct Vocabulary {
    /// Each token between two line ends.
    private var text: [UInt8] = [0x0A]
    /// Of hashes: two tokens share one in 64 bits with no probability worth a name.
    private var known: Set<Int> = []
    /// What the disk does not know for sure; kept until a transaction that wrote it has ended well.
    var unsaved: [String] = []

    init(_ terms: some Cursor<String>) throws {
        while let term = try terms.next() {
            var words = WordSet()
            var term = term
            term.withUTF8 { words.insert($0) }
            learn(words, isSaved: true)
        }
    }

    mutating func learn(_ words: WordSet, isSaved: Bool = false) {
        for (hash, token) in words.tokens where known.insert(hash).inserted {
            let token = words.bytes[token]
            text += token
            text.append(0x0A)
            if !isSaved { unsaved.append(String(decoding: token, as: UTF8.self)) }
        }
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

/// The distinct words of one text that a vocabulary learns.
struct WordSet: Sendable {
    private(set) var bytes: [UInt8] = []
    /// Each token's hash, and where in the bytes it is.
    private(set) var tokens: [(hash: Int, place: Range<Int>)] = []
    private var known: Set<Int> = []

    init() {}

    init(_ texts: [String], _ tokenizer: any FTS5Tokenizer) throws {
        var words = WordSet()
        for text in texts { try Folding.forEachToken(of: text, tokenizer) { words.insert($0) } }
        words.known = []
        self = words
    }

    mutating func insert(_ token: UnsafeBufferPointer<UInt8>) {
        var hasher = Hasher()
        hasher.combine(bytes: UnsafeRawBufferPointer(token))
        let hash = hasher.finalize()
        guard known.insert(hash).inserted, !Self.isEastern(token) else { return }
        tokens.append((hash, bytes.count..<bytes.count + token.count))
        bytes += token
    }

    /// Whether it has nothing but Eastern characters. See ``Folding/isEastern(_:)``.
    private static func isEastern(_ token: UnsafeBufferPointer<UInt8>) -> Bool {
        guard let first = token.first, first >= 0xE2 else { return false }
        return String(decoding: token, as: UTF8.self).unicodeScalars.allSatisfy(Folding.isEastern)
    }
}
