import GRDB
import KnapPlugin

/// note_data, tasks, processing, process_notes.
extension ObsidianPlugin {
    private func pipeline(of vault: Vault) throws(VaultError) -> NotePipeline {
        guard let pipeline = vaults.pipeline(of: vault) else { throw VaultError(.unavailable, "the vault '\(vault.name)' is being closed") }
        return pipeline
    }

    struct NoteDataInput: Codable, Sendable {
        var path: String
        var processor: String?
        var vault: String?
    }

    struct NoteDataOutput: Codable, Sendable {
        struct Failure: Codable, Sendable {
            var processor: String
            var reason: String
            var time: String
        }
        var path: String
        var title: String
        var version: String
        var modified: String
        var size: Int64
        /// By the processor's name, for the content that the note has now.
        var data: JSON
        var failures: [Failure]?
        /// Processors that have not come to it yet.
        var waiting: [String]?
    }

    func noteData(_ input: NoteDataInput, _ call: Call) throws -> NoteDataOutput {
        let vault = try vaults.vault(input.vault, call)
        let pipeline = try pipeline(of: vault)
        let path = try vault.find(input.path)
        guard path.isNote else { throw VaultError(.invalidArgument, "'\(path)' is not a note; only notes are processed") }
        guard pipeline.covers(path) else {
            throw VaultError(.failedPrecondition, "'\(path)' is not processed, because a rule hides it from everybody else")
        }
        let steps = try Self.steps(input.processor, pipeline)
        let (text, version, stamp) = try vault.readText(path)
        let known = try pipeline.store.results(of: version)
        let failures = try pipeline.store.failures(of: path.text, by: input.processor).filter { $0.version == version }
        let parsed = NoteParser.parse(text)
        let tags = parsed.tags.map(\.name) + (parsed.frontMatter?.tags ?? [])
        var data = JSONObject()
        var waiting: [String] = []
        for step in steps where step.processor.applies(to: path.text, tags: tags) {
            if let result = known[step.name], result.key == step.key {
                data[step.name] = result.value
            } else if !failures.contains(where: { $0.processor == step.name }) {
                waiting.append(step.name)
            }
        }
        return NoteDataOutput(
            path: path.text, title: path.title, version: version, modified: Timestamp.text(Double(stamp.modifiedNs) / 1e9),
            size: stamp.size, data: .object(data),
            failures: failures.isEmpty
                ? nil : failures.map { .init(processor: $0.processor, reason: $0.reason, time: Timestamp.text($0.time)) },
            waiting: waiting.isEmpty ? nil : waiting)
    }

    private static func steps(_ name: String?, _ pipeline: NotePipeline) throws(VaultError) -> [ProcessorPlan.Step] {
        let plan = pipeline.current
        guard let name else { return plan.steps }
        let steps = plan.steps.filter { $0.name == name }
        if !steps.isEmpty { return steps }
        if let problem = plan.problems.first(where: { $0.processor == name }) {
            throw VaultError(.failedPrecondition, "the processor '\(name)' does not run: \(problem.reason)")
        }
        let names = plan.steps.map(\.name)
        let hint = nearest(to: name, among: names).map { "; did you mean '\($0)'?" } ?? ""
        throw VaultError(.notFound, "nothing provides the processor '\(name)'\(hint); there are \(names.joined(separator: ", "))")
    }

    struct TasksInput: Codable, Sendable {
        var status: String?
        var due_before: String?
        var due_after: String?
        var path: String?
        var tag: String?
        var limit: Int?
        var offset: Int?
        var max_tokens: Int?
        var vault: String?
    }

    struct TasksOutput: Codable, Sendable {
        var total: Int
        /// As the processor `tasks` has them, with the path of their note.
        var tasks: [JSON]
        var next_offset: Int?
        /// How many notes have not been looked at since they changed.
        var waiting: Int?
        var indexing: Indexing?
    }

    func tasks(_ input: TasksInput, _ call: Call) throws -> TasksOutput {
        let vault = try vaults.vault(input.vault, call)
        let pipeline = try pipeline(of: vault)
        let page = try Page(limit: input.limit, offset: input.offset, standard: 50, most: 1000)
        let paths = vault.paths
        let place = (input.path ?? "").split(separator: "/").joined(separator: "/")
        let name = folded(place)
        let found = try pipeline.store.tasks(where: Self.condition(input)).filter { task in
            guard paths.contains(task.path) else { return false }
            let path = folded(task.path)
            return name.isEmpty || path == name || path == name + ".md" || path.hasPrefix(name + "/")
        }
        var budget = try TokenBudget(input.max_tokens)
        let shown = budget.fitting(
            found.dropFirst(page.offset).prefix(page.limit).map { path, task -> JSON in
                var shown: JSONObject = ["path": .string(path)]
                for (name, value) in task.objectValue ?? [:] { shown[name] = value }
                return .object(shown)
            }
        ) { $0.serialized().utf8.count }
        return TasksOutput(
            total: found.count, tasks: shown, next_offset: page.next(shown: shown.count, of: found.count),
            waiting: Self.waiting(pipeline, vault) > 0 ? Self.waiting(pipeline, vault) : nil, indexing: Indexing(vault))
    }

    private static func condition(_ input: TasksInput) throws(VaultError) -> SQLCondition {
        var condition = SQLCondition()
        switch input.status {
        case nil: break
        case "open": condition.add(SQLCondition("status IN ('todo', 'in_progress')"))
        case let status?:
            guard TaskLine.Status(rawValue: status) != nil else {
                let names = ["open"] + TaskLine.Status.allCases.map(\.rawValue)
                let hint = nearest(to: status, among: names).map { "; did you mean '\($0)'?" } ?? ""
                throw VaultError(.invalidArgument, "status '\(status)' is unknown\(hint); it is one of \(names.joined(separator: ", "))")
            }
            condition.add(SQLCondition("status = ?", [status]))
        }
        for (name, date, comparison) in [("due_before", input.due_before, "<"), ("due_after", input.due_after, ">")] {
            guard let date else { continue }
            guard date.utf8.count == 10, Timestamp.parse(date) != nil else {
                throw VaultError(.invalidArgument, "\(name) '\(date)' is no date; give it as 2026-05-31")
            }
            condition.add(SQLCondition("due \(comparison) ?", [date]))
        }
        if let tag = input.tag {
            let name = folded(tag.hasPrefix("#") ? String(tag.dropFirst()) : tag)
            condition.add(SQLCondition("instr(tags, ?) OR instr(tags, ?)", ["#\(name)#", "#\(name)/"]))
        }
        return condition
    }

    struct ProcessingInput: Codable, Sendable {
        var path: String?
        var processor: String?
        var limit: Int?
        var offset: Int?
        var vault: String?
    }

    struct ProcessingOutput: Codable, Sendable {
        struct Processor: Codable, Sendable {
            var name: String
            var version: String?
            /// None: it is built in.
            var plugin: String?
            var notes: Int
            var failures: Int
            /// Why it does not run.
            var problem: String?
        }
        struct Failure: Codable, Sendable {
            var path: String
            var processor: String
            var reason: String
            var time: String
        }
        /// In the order in which they run.
        var processors: [Processor]
        /// How many notes wait to be processed.
        var waiting: Int
        var total: Int
        var failures: [Failure]
        var next_offset: Int?
        /// Why results cannot be kept.
        var problem: String?
    }

    /// Which processors there are, and where they failed.
    func processing(_ input: ProcessingInput, _ call: Call) throws -> ProcessingOutput {
        let vault = try vaults.vault(input.vault, call)
        let pipeline = try pipeline(of: vault)
        let page = try Page(limit: input.limit, offset: input.offset, standard: 50, most: 1000)
        let path = try input.path.map { try vault.find($0).text }
        let paths = vault.paths
        let all = try pipeline.store.failures(of: path).filter { paths.contains($0.path) }
        let failures = all.filter { input.processor == nil || $0.processor == input.processor }
        let shown = failures.dropFirst(page.offset).prefix(page.limit)
        let plan = pipeline.current
        let processors = try plan.steps.map { step in
            ProcessingOutput.Processor(
                name: step.name, version: step.processor.version, plugin: step.processor.plugin,
                notes: try pipeline.store.done(step.name, key: step.key).count(where: paths.contains),
                failures: all.count { $0.processor == step.name && $0.key == step.key })
        }
        let refused = plan.problems.map {
            ProcessingOutput.Processor(name: $0.processor, plugin: $0.plugin, notes: 0, failures: 0, problem: $0.reason)
        }
        return ProcessingOutput(
            processors: processors + refused, waiting: Self.waiting(pipeline, vault), total: failures.count,
            failures: shown.map {
                .init(path: $0.path, processor: $0.processor, reason: $0.reason, time: Timestamp.text($0.time))
            },
            next_offset: page.next(shown: shown.count, of: failures.count), problem: pipeline.problem)
    }

    struct ProcessNotesInput: Codable, Sendable {
        var path: String?
        var processor: String?
        var vault: String?
    }

    struct ProcessNotesOutput: Codable, Sendable {
        /// How many failures were forgotten, and are tried again.
        var retried: Int
    }

    /// Has what failed tried again.
    func processNotes(_ input: ProcessNotesInput, _ call: Call) async throws -> ProcessNotesOutput {
        let vault = try vaults.vault(input.vault, call)
        let pipeline = try pipeline(of: vault)
        let path = try input.path.map { try vault.find($0).text }
        if let processor = input.processor { _ = try Self.steps(processor, pipeline) }
        guard path == nil, !vault.files.access.rules.isEmpty else {
            return ProcessNotesOutput(retried: try await pipeline.retry(path, input.processor))
        }
        // Whoever does not see all notes has those tried that they see.
        var retried = 0
        for path in Set(try pipeline.store.failures().map(\.path)) where vault.files.access.sees(path) {
            retried += try await pipeline.retry(path, input.processor)
        }
        return ProcessNotesOutput(retried: retried)
    }

    /// How many notes wait; that others have some is not for those who do not see them.
    private static func waiting(_ pipeline: NotePipeline, _ vault: Vault) -> Int {
        vault.files.access.rules.isEmpty ? pipeline.backlog : 0
    }
}

extension NotePipeline.Caller {
    init(_ host: PluginHost) {
        call = { method, input, deadline throws(PluginError) in
            let reply = try await host.services.bind(method)
                .call(bytes: Array(input.serialized().utf8), parent: nil, deadline: .after(deadline))
            do {
                return try JSON.parse(reply.body)
            } catch {
                throw PluginError(.invalidArgument, "\(method) answered what is not JSON: \(error)")
            }
        }
        sleep = { try await host.timers.sleep(for: $0) }
    }
}
