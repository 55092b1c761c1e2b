import GRDB
import KnapJSON
import KnapPlugin

/// Questions about tags, properties and times.
extension NoteIndex {
    /// Every tag in its most used spelling with the number of its notes, most used first.
    func tags(containing text: String?) throws -> [(name: String, notes: Int)] {
        try read { database in
            try Row.fetchAll(
                database,
                sql: """
                    SELECT name, folded, count(DISTINCT note) AS notes FROM tag
                    WHERE instr(folded, ?) GROUP BY folded ORDER BY notes DESC, folded
                    """, arguments: [folded(text.map { $0.hasPrefix("#") ? String($0.dropFirst()) : $0 } ?? "")]
            ).map { ($0["name"], $0["notes"]) }
        }
    }

    enum Order: String, CaseIterable, Sendable { case modified, path, size }

    func notes(where condition: SQLCondition, order: Order, limit: Int, offset: Int) throws -> (notes: [(NoteSummary, JSON)], total: Int) {
        let direction = order == .path ? "note.path" : "note.\(order.rawValue) DESC, note.path"
        return try read { database in
            let total = try Int.fetchOne(
                database, sql: "SELECT count(*) FROM note WHERE \(condition.sql)", arguments: condition.arguments) ?? 0
            let rows = try Row.fetchAll(
                database, sql: "SELECT * FROM note WHERE \(condition.sql) ORDER BY \(direction) LIMIT ? OFFSET ?",
                arguments: condition.arguments + [limit, offset])
            return (rows.map { (NoteSummary($0), (try? JSON.parse($0["properties"] as String)) ?? [:]) }, total)
        }
    }
}

extension SQLCondition {
    static let operators = ["=", "!=", "<", "<=", ">", ">=", "contains", "exists"]

    /// A comparison of one property. Numbers compare as numbers, all else as text without regard to case; a list
    /// fulfils it when one of its elements does.
    static func property(_ name: String, _ comparison: String, _ value: JSON?) throws(PluginError) -> SQLCondition {
        let key = folded(name)
        let base = "EXISTS (SELECT 1 FROM json_each(note.properties) p WHERE lower(p.key) = ?"
        if comparison == "exists" { return SQLCondition(base + ")", [key]) }
        guard operators.contains(comparison) else {
            throw VaultError(.invalidArgument, "where.op '\(comparison)' is unknown; it is one of \(operators.joined(separator: ", "))")
        }
        guard let value, value.arrayValue == nil, value.objectValue == nil else {
            throw VaultError(.invalidArgument, "where.value is required for '\(comparison)' and is text, a number or true or false")
        }
        let text = folded(value.stringValue ?? value.serialized())
        let elements = "EXISTS (SELECT 1 FROM json_each(CASE WHEN p.type = 'array' THEN p.value ELSE json_array(p.value) END) e WHERE "
        let element = "CASE WHEN e.type IN ('true','false') THEN e.type ELSE lower(CAST(e.value AS TEXT)) END"
        switch comparison {
        case "contains": return SQLCondition(base + " AND " + elements + "instr(\(element), ?)))", [key, text])
        case "!=": return SQLCondition("NOT " + base + " AND " + elements + "\(element) = ?))", [key, text])
        case "=": return SQLCondition(base + " AND " + elements + "\(element) = ?))", [key, text])
        default:
            if let number = value.doubleValue {
                return SQLCondition(
                    base + " AND " + elements + "e.type IN ('integer','real') AND e.value \(comparison) ?))", [key, number])
            }
            return SQLCondition(base + " AND " + elements + "\(element) \(comparison) ?))", [key, text])
        }
    }
}
