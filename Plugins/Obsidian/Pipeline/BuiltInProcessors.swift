import KnapJSON

/// The processors that every vault has. Raise the version of one with every change of what it answers.
extension NoteProcessor {
    static let builtIn = [
        NoteProcessor(builtIn: "metadata", version: "1", metadata),
        NoteProcessor(builtIn: "links", version: "1", links),
        NoteProcessor(builtIn: "tasks", version: "1", tasks),
    ]

    private static func metadata(_ text: String, _ note: ParsedNote) -> JSON {
        let front = note.frontMatter
        let body = text.utf8.dropFirst(front?.range.upperBound ?? 0)
        var names: Set<String> = []
        let tags = ((front?.tags ?? []) + note.tags.map(\.name)).filter { names.insert(folded($0)).inserted }
        return [
            "properties": .object(front?.properties ?? [:]),
            "aliases": .array((front?.aliases ?? []).map(JSON.string)),
            "tags": .array(tags.map(JSON.string)),
            "headings": .array(
                note.headings.map {
                    ["level": .number(JSONNumber($0.level)), "text": .string($0.text), "line": .number(JSONNumber($0.line + 1))]
                }),
            "words": .number(JSONNumber(words(in: Substring(body)))),
            "characters": .number(JSONNumber(Substring(body).unicodeScalars.count)),
        ]
    }

    /// Runs of letters and digits; in scripts that write without spaces each character is one.
    private static func words(in text: Substring) -> Int {
        var count = 0
        var isInside = false
        for scalar in text.unicodeScalars {
            switch scalar.value {
            case 0x3040...0x30FF, 0x3400...0x4DBF, 0x4E00...0x9FFF, 0xF900...0xFAFF, 0x20000...0x3FFFF:
                count += 1
                isInside = false
            case 0x27 where isInside, 0x2019 where isInside: break
            default:
                let isWord = scalar.properties.isAlphabetic || scalar.properties.numericType != nil || scalar == "_"
                if isWord, !isInside { count += 1 }
                isInside = isWord
            }
        }
        return count
    }

    private static func links(_ text: String, _ note: ParsedNote) -> JSON {
        let all = note.links + (note.frontMatter?.links ?? [])
        return [
            "links": .array(
                all.map { link in
                    var shown: JSONObject = [
                        "target": .string(link.target), "kind": .string(link.kind.name),
                        "line": .number(JSONNumber(link.line + 1)),
                    ]
                    if !link.subpath.isEmpty { shown["subpath"] = .string(link.subpath) }
                    shown["display"] = link.display.map(JSON.string)
                    return .object(shown)
                })
        ]
    }

    private static func tasks(_ text: String, _ note: ParsedNote) -> JSON {
        ["tasks": .array(TaskLine.all(in: text, note).map(\.json))]
    }
}

extension TaskLine {
    static func all(in text: String, _ note: ParsedNote) -> [TaskLine] {
        let items = note.items.filter { $0.task != nil }
        guard !items.isEmpty else { return [] }
        let lines = TextLines(text)
        return items.compactMap { item in
            item.task?.first.flatMap { TaskLine(lines.text(line: item.line), line: item.line, mark: $0) }
        }
    }

    var json: JSON {
        var task: JSONObject = [
            "line": .number(JSONNumber(line + 1)), "status": .string(status.rawValue), "mark": .string(String(mark)),
            "text": .string(text),
        ]
        if !tags.isEmpty { task["tags"] = .array(tags.map(JSON.string)) }
        task["priority"] = priority.map(JSON.string)
        for name in Self.dates { task[name] = dates[name].map(JSON.string) }
        task["recurrence"] = recurrence.map(JSON.string)
        task["id"] = id.map(JSON.string)
        if !dependsOn.isEmpty { task["depends_on"] = .array(dependsOn.map(JSON.string)) }
        return .object(task)
    }
}
