/// In which order the processors run, and which of them cannot.
struct ProcessorPlan: Sendable {
    struct Step: Sendable {
        var processor: NoteProcessor
        /// With the note's content this says which result is wanted: what it was made by, and from what.
        var key: String

        var name: String { processor.name }
        /// Whose results it gets.
        var inputs: [String] { processor.needs + processor.after }
    }

    /// One that does not run, and why.
    struct Problem: Sendable, Hashable {
        var processor: String
        var plugin: String?
        var reason: String
    }

    private(set) var steps: [Step] = []
    private(set) var problems: [Problem] = []

    /// Those that are ready run in the order in which they are given.
    init(_ processors: [NoteProcessor]) {
        var waiting: [NoteProcessor] = []
        for processor in processors {
            if let first = waiting.first(where: { $0.name == processor.name }) {
                refuse(processor, "\(first.plugin.map { "the plugin \($0)" } ?? "Knap itself") has a processor of this name already")
            } else {
                waiting.append(processor)
            }
        }
        // One that needs what there is not takes with it those that need it.
        while let at = waiting.firstIndex(where: { !Self.missing($0, in: waiting).isEmpty }) {
            let processor = waiting.remove(at: at)
            refuse(processor, "it needs '\(Self.missing(processor, in: waiting)[0])', which nothing provides")
        }
        while let at = waiting.firstIndex(where: { Self.isReady($0, in: waiting) }) { append(waiting.remove(at: at)) }
        for processor in waiting {
            let others = waiting.filter { processor.needs.contains($0.name) || processor.after.contains($0.name) }.map(\.name)
            refuse(processor, "it waits for '\(others.joined(separator: "', '"))', which waits for it; a cycle has no order")
        }
    }

    private static func missing(_ processor: NoteProcessor, in all: [NoteProcessor]) -> [String] {
        processor.needs.filter { need in need == processor.name || !all.contains { $0.name == need } }
    }

    private static func isReady(_ processor: NoteProcessor, in waiting: [NoteProcessor]) -> Bool {
        !waiting.contains { processor.needs.contains($0.name) || processor.after.contains($0.name) }
    }

    private mutating func append(_ processor: NoteProcessor) {
        let inputs = processor.needs + processor.after
        let keys = steps.filter { inputs.contains($0.name) }.map { "\($0.name)=\($0.key)" }
        let own = "\(processor.plugin ?? "")@\(processor.version)"
        // Short, however long the chain is.
        steps.append(Step(processor: processor, key: keys.isEmpty ? own : own + "+" + ContentVersion.of(Array(keys.joined(separator: ",").utf8)).prefix(12)))
    }

    private mutating func refuse(_ processor: NoteProcessor, _ reason: String) {
        problems.append(Problem(processor: processor.name, plugin: processor.plugin, reason: reason))
    }

    /// Those whose results depend on one's, in their order.
    func dependents(of name: String) -> [String] {
        var found: Set<String> = [name]
        return steps.compactMap { step in
            guard step.inputs.contains(where: found.contains) else { return nil }
            found.insert(step.name)
            return step.name
        }
    }
}
