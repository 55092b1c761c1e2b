import KnapJSON

/// What a language model takes a text to be made of: byte-pair encoding with SentencePiece's `▁` for a blank, as a
/// `tokenizer.json` of Hugging Face's `tokenizers` defines it (model `BPE`, `byte_fallback`, no pre-tokenizer).
///
/// The pair of neighbours that stands first in the list of merges becomes one, the leftmost of equals first, until no
/// pair is in the list. A blank begins a word and no merge leads across its beginning, so each word is done by itself.
struct Tokenizer: Sendable {
    private let merges: MergeTable
    /// The token of each scalar that has one.
    private let scalars: [Unicode.Scalar: Int32]
    /// The tokens of what has none, byte by byte.
    private let bytes: [Int32]
    /// Texts that are a token wherever they stand.
    private let specials: [(text: [UInt8], token: Int32)]
    /// How many tokens there are.
    let count: Int

    private static let blank: Unicode.Scalar = "▁"

    struct Unusable: Error, CustomStringConvertible {
        var description: String
    }

    init(json: [UInt8]) throws {
        let document = try JSON.parse(json)
        let model = document["model"]
        guard model?["type"]?.stringValue == "BPE", model?["byte_fallback"]?.boolValue == true,
            let vocabulary = model?["vocab"]?.objectValue, let merges = model?["merges"]?.arrayValue,
            document["pre_tokenizer"] ?? .null == .null
        else {
            throw Unusable(description: "it is no byte-pair encoding with byte_fallback and without a pre-tokenizer")
        }
        // By their bytes: texts that Unicode calls equal are not, as an accent of one kind and of another.
        var tokens: [[UInt8]: Int32] = Dictionary(minimumCapacity: vocabulary.count)
        for (text, token) in vocabulary.members {
            tokens[Array(text.utf8)] = token.intValue.flatMap { Int32(exactly: $0) }
        }
        func token(_ text: some StringProtocol) throws -> Int32 {
            guard let token = tokens[Array(text.utf8)] else { throw Unusable(description: "it has no token '\(text)'") }
            return token
        }
        count = tokens.count
        scalars = Dictionary(
            uniqueKeysWithValues: tokens.compactMap { text, token in
                let scalars = String(decoding: text, as: UTF8.self).unicodeScalars
                return scalars.count == 1 ? scalars.first.map { ($0, token) } : nil
            })
        bytes = try (0..<256).map { byte in
            let digits = String(byte, radix: 16, uppercase: true)
            return try token("<0x\(digits.count == 1 ? "0" : "")\(digits)>")
        }
        specials = try (document["added_tokens"]?.arrayValue ?? []).compactMap(\.["content"]?.stringValue).map {
            (Array($0.utf8), try token($0))
        }
        var table = MergeTable(capacity: merges.count)
        for (rank, merge) in merges.enumerated() {
            guard let text = merge.stringValue, let gap = text.firstIndex(of: " ") else {
                throw Unusable(description: "merge \(rank) is not two texts")
            }
            let (left, right) = (text[..<gap], text[text.index(after: gap)...])
            table.insert(try token(left), try token(right), rank: UInt32(rank), merged: try token(left + right))
        }
        self.merges = table
    }

    /// The tokens of a text in order.
    func tokens(of text: String) -> [Int32] {
        var tokens: [Int32] = []
        var text = text
        text.withUTF8 { bytes in
            var start = 0
            var place = 0
            while place < bytes.count {
                guard let special = special(at: place, bytes) else {
                    place += 1
                    continue
                }
                append(bytes[start..<place], to: &tokens)
                tokens.append(special.token)
                place += special.text.count
                start = place
            }
            append(bytes[start...], to: &tokens)
        }
        return tokens
    }

    /// The longest that begins there.
    private func special(at place: Int, _ bytes: UnsafeBufferPointer<UInt8>) -> (text: [UInt8], token: Int32)? {
        specials.filter { bytes[place] == $0.text.first && bytes[place...].starts(with: $0.text) }
            .max { $0.text.count < $1.text.count }
    }

    private func append(_ text: Slice<UnsafeBufferPointer<UInt8>>, to tokens: inout [Int32]) {
        guard !text.isEmpty else { return }
        var word = Word()
        // Each text begins a word.
        word.symbols.append(scalars[Self.blank] ?? 0)
        var isInBlanks = true
        var codec = UTF8()
        var rest = text.makeIterator()
        while case .scalarValue(let scalar) = codec.decode(&rest) {
            let isBlank = scalar == " " || scalar == Self.blank
            if isBlank, !isInBlanks { finish(&word, &tokens) }
            isInBlanks = isBlank
            if let token = scalars[isBlank ? Self.blank : scalar] {
                word.symbols.append(token)
            } else {
                // A scalar that came out of UTF-8.
                for byte in UTF8.encode(scalar)! { word.symbols.append(bytes[Int(byte)]) }
            }
        }
        finish(&word, &tokens)
    }

    private struct Word {
        var symbols: [Int32] = []
        /// Of each symbol with the next one.
        var ranks: [UInt32] = []
    }

    /// Costs up to the square of the word's length, which is bounded by that of the texts that are asked for.
    private func finish(_ word: inout Word, _ tokens: inout [Int32]) {
        let count = word.symbols.count
        word.ranks.removeAll(keepingCapacity: true)
        for place in 0..<max(0, count - 1) {
            word.ranks.append(merges.rank(word.symbols[place], word.symbols[place + 1]))
        }
        while let first = word.ranks.min(), first != MergeTable.none, let place = word.ranks.firstIndex(of: first) {
            word.symbols[place] = merges.merged(word.symbols[place], word.symbols[place + 1])
            word.symbols.remove(at: place + 1)
            word.ranks.remove(at: place)
            if place > 0 { word.ranks[place - 1] = merges.rank(word.symbols[place - 1], word.symbols[place]) }
            if place < word.ranks.count {
                word.ranks[place] = merges.rank(word.symbols[place], word.symbols[place + 1])
            }
        }
        tokens += word.symbols
        word.symbols.removeAll(keepingCapacity: true)
    }
}
