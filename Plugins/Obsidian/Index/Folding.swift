import CVaultShims
import GRDB
import Synchronization

/// Text as search compares it: without regard to case and diacritics, as FTS5's tokenizer sees it.
///
/// What a scalar becomes is asked of the tokenizer itself, so that what the index finds and what is decided on a note's
/// text can never differ.
enum Folding {
    /// FTS5's name of the tokenizer, for the index's table.
    static let tokenizer = "unicode61 remove_diacritics 2"

    /// Up to where scripts have case and diacritics; behind are those of the East and symbols.
    private static let end: UInt32 = 0x3000

    /// What each scalar becomes; 0 for a mark that disappears.
    private static let table: [UInt32] = {
        var table = Array(0..<end)
        let others = (0x80..<end).compactMap(Unicode.Scalar.init)
        let text = others.map { "a\($0)b" }.joined(separator: " ")
        guard let tokens = try? tokens(text) else { return table }
        var rest = tokens[...]
        for scalar in others {
            // Between two letters a separator makes two tokens, a letter becomes what it is folded to.
            guard let token = rest.popFirst() else { break }
            guard token != "a" else {
                rest = rest.dropFirst()
                continue
            }
            table[Int(scalar.value)] = token.unicodeScalars.dropFirst().dropLast().first?.value ?? 0
        }
        return table
    }()

    /// Empty databases whose tokenizers nobody uses now.
    private static let spare = Mutex<[DatabaseQueue]>([])

    /// Lends a tokenizer to one thread.
    static func withTokenizer<T>(_ body: (any FTS5Tokenizer) throws -> T) throws -> T {
        let memory = try spare.withLock { $0.popLast() } ?? DatabaseQueue()
        defer { spare.withLock { $0.append(memory) } }
        return try memory.read { try body(tokenizer(in: $0)) }
    }

    /// The tokens of a text, folded.
    static func tokens(_ text: String) throws -> [String] {
        try withTokenizer { tokenizer in
            var tokens: [String] = []
            try forEachToken(of: text, tokenizer) { tokens.append(String(decoding: $0, as: UTF8.self)) }
            return tokens
        }
    }

    /// Whether a scalar is of a script that has neither case nor spaces between words, or a symbol: what a long token
    /// may consist of.
    static func isEastern(_ scalar: Unicode.Scalar) -> Bool { scalar.value >= 0x2E80 }

    static func tokenizer(in database: Database) throws -> any FTS5Tokenizer {
        try database.makeTokenizer(.unicode61(diacritics: .remove))
    }

    static func forEachToken(
        of text: String, _ tokenizer: any FTS5Tokenizer, _ body: (UnsafeBufferPointer<UInt8>) -> Void
    ) throws {
        var text = text
        let code = text.withUTF8 { bytes in
            withoutActuallyEscaping(body) { body in
                withUnsafePointer(to: body) { context in
                    tokenizer.tokenize(
                        context: UnsafeMutableRawPointer(mutating: context), tokenization: .document,
                        pText: UnsafeRawPointer(bytes.baseAddress)?.assumingMemoryBound(to: CChar.self),
                        nText: CInt(bytes.count)
                    ) { context, _, token, count, _, _ in
                        guard let context, let token else { return 0 }
                        let body = context.assumingMemoryBound(to: ((UnsafeBufferPointer<UInt8>) -> Void).self).pointee
                        token.withMemoryRebound(to: UInt8.self, capacity: Int(count)) {
                            body(UnsafeBufferPointer(start: $0, count: Int(count)))
                        }
                        return 0
                    }
                }
            }
        }
        guard code == 0 else { throw DatabaseError(resultCode: ResultCode(rawValue: code)) }
    }

    static func bytes(_ text: String) -> [UInt8] {
        var text = text
        return text.withUTF8 { bytes($0) }
    }

    /// Of UTF-8.
    static func bytes(_ bytes: UnsafeBufferPointer<UInt8>) -> [UInt8] {
        // A folded scalar may be one byte longer than it was.
        [UInt8](unsafeUninitializedCapacity: bytes.count * 2) { output, count in
            var place = 0
            while place < bytes.count {
                let byte = bytes[place]
                if byte < 0x80 {
                    output[count] = byte &- 0x41 < 26 ? byte | 0x20 : byte
                    count += 1
                    place += 1
                    continue
                }
                var codec = UTF8()
                var rest = bytes[place...].makeIterator()
                guard case .scalarValue(let scalar) = codec.decode(&rest) else { break }
                place += UTF8.width(scalar)
                guard let folded = folded(scalar), let encoded = UTF8.encode(folded) else { continue }
                for byte in encoded {
                    output[count] = byte
                    count += 1
                }
            }
        }
    }

    static func text(_ text: String) -> String { String(decoding: bytes(text), as: UTF8.self) }

    private static func folded(_ scalar: Unicode.Scalar) -> Unicode.Scalar? {
        guard scalar.value >= end else {
            let folded = table[Int(scalar.value)]
            return folded == 0 ? nil : Unicode.Scalar(folded)
        }
        let mapped = scalar.properties.lowercaseMapping.unicodeScalars
        return mapped.count == 1 ? mapped.first : scalar
    }
}

extension [UInt8] {
    /// Where a text is first found, from a place on.
    func firstPlace(of text: [UInt8], in range: Range<Int>) -> Int? {
        withUnsafeBytes { bytes in
            text.withUnsafeBytes { text in
                guard !text.isEmpty else { return range.lowerBound }
                guard let start = bytes.baseAddress,
                    let found = memmem(start + range.lowerBound, range.count, text.baseAddress!, text.count)
                else { return nil }
                return start.distance(to: UnsafeRawPointer(found))
            }
        }
    }
}
