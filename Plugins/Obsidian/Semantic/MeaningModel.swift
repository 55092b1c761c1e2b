import Glibc

/// What turns a text into a vector, so that texts which mean the like have vectors that point the like way: the mean of
/// its tokens' vectors (WordLlama, https://github.com/dleemiller/WordLlama).
///
/// Order and negation count for nothing in a mean.
struct MeaningModel: Sendable {
    private let tokenizer: Tokenizer
    private let table: EmbeddingTable

    static let tokenizerFile = "tokenizer.json", tableFile = "table.safetensors"

    init(folder: String) throws {
        table = try EmbeddingTable(path: folder + "/" + Self.tableFile)
        let json = try Self.read(folder + "/" + Self.tokenizerFile)
        do { tokenizer = try Tokenizer(json: json) } catch {
            throw EmbeddingTable.Unusable(description: "'\(folder)/\(Self.tokenizerFile)' cannot be used: \(error)")
        }
        guard tokenizer.count <= table.rows else {
            throw EmbeddingTable.Unusable(
                description: "the table in '\(folder)' has fewer rows than its tokenizer has tokens")
        }
    }

    /// Of length 1; nil for a text without tokens.
    func vector(of text: String) -> [Float]? {
        var sum = [Float](repeating: 0, count: EmbeddingTable.width)
        for token in tokenizer.tokens(of: text) { table.add(token, to: &sum) }
        let length = sum.reduce(0) { $0 + $1 * $1 }.squareRoot()
        guard length > 0 else { return nil }
        return sum.map { $0 / length }
    }

    private static func read(_ path: String) throws -> [UInt8] {
        guard let file = fopen(path, "re") else {
            throw EmbeddingTable.Unusable(description: "'\(path)' cannot be read: \(String(cString: strerror(errno)))")
        }
        defer { fclose(file) }
        var bytes: [UInt8] = []
        var part = [UInt8](repeating: 0, count: 1 << 16)
        while case let count = fread(&part, 1, part.count, file), count > 0 { bytes += part[..<count] }
        return bytes
    }
}
