import KnapJSON

/// What `knap plugins info` prints for people: what says something, the most wanted first.
enum PluginText {
    static func text(_ details: JSON) -> String {
        guard let object = details.objectValue else { return Render.text(details) }
        let headline = ["name", "version", "state", "reason", "isolation"]
        let (methods, history) = (object["methods"]?.arrayValue ?? [], object["history"]?.arrayValue ?? [])
        let rest = telling(object).members.filter { !(headline + ["methods", "history"]).contains($0.name) }
        var sections = [
            Render.text(.object(JSONObject(headline.compactMap { name in object[name].map { (name, $0) } } + rest)))
        ]
        if !methods.isEmpty {
            let rows = methods.map { method -> JSON in
                ["method": method["name"] ?? .null, "description": method["description"] ?? .null]
            }
            sections.append(Render.table(rows))
        }
        if !history.isEmpty { sections.append(Render.table(Array(history.suffix(10)), first: ["time_ms", "state", "reason"])) }
        return sections.joined(separator: "\n\n")
    }

    /// Without what is empty and what was counted and never happened.
    private static func telling(_ object: JSONObject) -> JSONObject {
        JSONObject(
            object.members.compactMap { name, value in
                switch value {
                case .object(let inner):
                    let kept = telling(inner)
                    return kept.isEmpty ? nil : (name, .object(kept))
                case .array(let elements): return elements.isEmpty ? nil : (name, value)
                case .null: return nil
                default: return value.intValue == 0 ? nil : (name, value)
                }
            })
    }
}
