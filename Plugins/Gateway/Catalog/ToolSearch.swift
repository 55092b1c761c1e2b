import Glibc
import KnapJSON

/// Ranks tools by relevance to a few words: BM25F over name, title, description and argument names.
///
/// The fields weigh differently, because a word in a name says more than one in a description. The index is built with
/// the catalog, so a search touches only the tools that have one of the words.
package struct ToolSearch: Sendable {
    private struct Posting: Sendable {
        var tool: Int
        var weight: Double
    }

    private var postings: [String: [Posting]] = [:]
    private var lengths: [Double] = []
    private var names: [String] = []

    /// BM25's usual constants: how fast repeated words stop counting, and how much long texts are discounted.
    private static let saturation = 1.2
    private static let lengthDiscount = 0.75
    /// In characters; each word of a query is looked for in the whole index.
    private static let longestQuery = 500
    /// What a word is worth that only begins with the one asked for.
    private static let prefixShare = 0.5

    init(tools: [Tool]) {
        for (index, tool) in tools.enumerated() {
            var weights: [String: Double] = [:]
            for (text, weight) in Self.fields(of: tool) {
                for word in Self.words(text) { weights[word, default: 0] += weight }
            }
            names.append(tool.name)
            lengths.append(weights.values.reduce(0, +))
            for (word, weight) in weights { postings[word, default: []].append(Posting(tool: index, weight: weight)) }
        }
    }

    private static func fields(of tool: Tool) -> [(String, Double)] {
        let arguments = tool.inputSchema["properties"]?.objectValue?.names.joined(separator: " ") ?? ""
        return [(tool.name, 4), (tool.title ?? "", 2), (tool.description, 1), (arguments, 0.5), (tool.plugin, 1)]
    }

    /// Indexes of the tools that fit, best first; those that fit equally well in their order of listing.
    package func rank(_ query: String) -> [Int] {
        var scores: [Int: Double] = [:]
        let average = lengths.isEmpty ? 1 : max(1, lengths.reduce(0, +) / Double(lengths.count))
        for word in Set(Self.words(String(query.prefix(Self.longestQuery)))) {
            for (indexed, list) in postings where indexed == word || isPrefix(word, of: indexed) {
                let share = indexed == word ? 1 : Self.prefixShare
                let rarity = Self.rarity(of: list.count, among: lengths.count)
                for posting in list {
                    let norm = 1 - Self.lengthDiscount + Self.lengthDiscount * lengths[posting.tool] / average
                    let weight = posting.weight / norm
                    scores[posting.tool, default: 0] += share * rarity * weight / (weight + Self.saturation)
                }
            }
        }
        return scores.sorted { ($1.value, $0.key) < ($0.value, $1.key) }.map(\.key)
    }

    /// Either is the beginning of the other: "tag" finds "tagging", and "notes" finds "note".
    private func isPrefix(_ word: String, of indexed: String) -> Bool {
        word.utf8.count >= 3 && indexed.utf8.count >= 3 && (indexed.hasPrefix(word) || word.hasPrefix(indexed))
    }

    private static func rarity(of matches: Int, among tools: Int) -> Double {
        log(1 + (Double(tools - matches) + 0.5) / (Double(matches) + 0.5))
    }

    /// Lower-case words of letters and digits; `camelCase` and `snake_case` come apart.
    static func words(_ text: String) -> [String] {
        var words: [String] = []
        var word = ""
        var wasLower = false
        for character in text {
            guard character.isLetter || character.isNumber else {
                if !word.isEmpty { words.append(word) }
                word = ""
                wasLower = false
                continue
            }
            if character.isUppercase, wasLower {
                words.append(word)
                word = ""
            }
            wasLower = character.isLowercase
            word += character.lowercased()
        }
        if !word.isEmpty { words.append(word) }
        return words.filter { !stopWords.contains($0) }
    }

    private static let stopWords: Set<String> = [
        "a", "an", "and", "are", "as", "at", "be", "by", "for", "from", "how", "i", "in", "is", "it", "its", "me", "my",
        "of", "on", "or", "that", "the", "this", "to", "tool", "tools", "what", "which", "with",
    ]
}
