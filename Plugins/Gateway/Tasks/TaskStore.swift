import KnapJSON

/// Keeps tasks in files, so that a client that was promised one finds it after a reload or a restart.
package protocol TaskFiles: Sendable {
    func write(_ task: JSON, _ id: String) async throws
    func remove(_ id: String) async
    func readAll() async -> [JSON]
}

/// The tasks of all clients.
package actor TaskStore {
    /// Calls the tool's method for one round; progress is told as it comes.
    typealias Work = @Sendable (
        _ record: TaskRecord, _ progress: @escaping @Sendable (String) async -> Void
    ) async throws -> Interaction.Outcome

    /// Those of one principal and of all: more are refused, because each holds its result for an hour.
    static let maximumOfOne = 1000
    static let maximum = 10_000
    /// What the tasks of one principal may hold together, in bytes.
    static let maximumBytesOfOne = 256 << 20

    private var records: [String: TaskRecord] = [:]
    private var running: [String: Task<Void, Never>] = [:]
    private var writes: [String: Task<Void, Never>] = [:]
    private let files: (any TaskFiles)?
    private let catalog: LiveCatalog

    package init(catalog: LiveCatalog, files: (any TaskFiles)? = nil) {
        self.catalog = catalog
        self.files = files
    }

    /// Reads what an earlier generation left. What was at work then has been lost with it, and says so.
    package func load() async {
        for json in await files?.readAll() ?? [] {
            guard var record = TaskRecord(json), records[record.id] == nil else { continue }
            guard !record.isExpired(.now) else {
                await files?.remove(record.id)
                continue
            }
            if record.status == .working {
                record.end(.failure(RPCError(.internalError, Self.stopped)), .now)
                try? await files?.write(record.json, record.id)
            }
            records[record.id] = record
        }
    }

    /// Starts a task, which is on disk before this returns.
    func create(
        tool: String, arguments: JSONObject, state: String?, client: ClientIdentity, principal: String,
        _ work: @escaping Work
    ) async throws(RPCError) -> TaskRecord {
        await forgetExpired()
        if records.values.count(where: { $0.principal == principal }) >= Self.maximumOfOne {
            await forgetOldest(of: principal)
        }
        await makeRoom(for: JSON.object(arguments).approximateSize, of: principal)
        guard records.count < Self.maximum,
            records.values.count(where: { $0.principal == principal }) < Self.maximumOfOne,
            bytes(of: principal) < Self.maximumBytesOfOne
        else { throw RPCError(.internalError, "Too many tasks are at work; wait until some are over.") }
        let record = TaskRecord(
            id: randomText(), principal: principal, tool: tool, arguments: arguments, client: client, state: state,
            now: .now)
        // Before anything is waited for, so that it counts for the next one.
        records[record.id] = record
        do {
            try await files?.write(record.json, record.id)
        } catch {
            records[record.id] = nil
            throw RPCError(.internalError, "The task could not be kept, so it was not started: \(error)")
        }
        start(record, work)
        return record
    }

    func find(_ id: String, of principal: String) -> TaskRecord? {
        guard let record = records[id], record.principal == principal, !record.isExpired(.now) else { return nil }
        return record
    }

    /// Takes what the client answered; goes on when nothing is missing.
    func update(_ id: String, with answers: JSONObject, _ work: @escaping Work) async {
        guard var record = records[id], record.take(answers, .now) else { return }
        records[id] = record
        // Before anything is waited for, so that a cancel that comes now finds it running.
        if record.status == .working { start(record, work) }
        await keep(record)
    }

    func cancel(_ id: String) async {
        guard var record = records[id], record.cancel(.now) else { return }
        running[id]?.cancel()
        await keep(record)
    }

    /// Waits for what is at work, a bounded time, and gives up the rest.
    package func stop(after patience: Duration) async {
        let tasks = Array(running.values)
        let watch = Task {
            try? await Task.sleep(for: patience)
            for task in tasks { task.cancel() }
        }
        for task in tasks { await task.value }
        watch.cancel()
    }

    private func start(_ record: TaskRecord, _ work: @escaping Work) {
        running[record.id] = Task { await self.run(record, work) }
    }

    private func run(_ record: TaskRecord, _ work: Work) async {
        let id = record.id
        var record = record
        for _ in 0..<Self.maximumRounds {
            let outcome: Result<Interaction.Outcome, RPCError>
            do {
                outcome = .success(try await work(record) { await self.note($0, of: id) })
            } catch let error as RPCError {
                outcome = .failure(error)
            } catch {
                outcome = .failure(RPCError(.internalError, "\(error)"))
            }
            if case .success(.done(let result)) = outcome {
                await makeRoom(for: JSON.object(result).approximateSize, of: record.principal)
            }
            // It may have been cancelled meanwhile, which stays.
            guard let current = records[id], !current.status.isOver else {
                running[id] = nil
                return
            }
            record = current
            switch outcome {
            case .success(.done(let result)): record.end(.success(result), .now)
            case .success(.needs(let needs)): record.wait(for: needs, .now)
            case .success(.task):
                let error = RPCError(.internalError, "\(record.tool) is a task already and cannot become one.")
                record.end(.failure(error), .now)
            case .failure(let error) where error.code == .cancelled:
                record.end(.failure(RPCError(.internalError, Self.stopped)), .now)
            case .failure(let error): record.end(.failure(error), .now)
            }
            records[id] = record
            // A method that asks nothing only wants to be called again with its state.
            guard record.status == .working else { break }
        }
        if record.status == .working {
            let error = RPCError(.internalError, "\(record.tool) put its work off \(Self.maximumRounds) times.")
            record.end(.failure(error), .now)
        }
        running[id] = nil
        await keep(record)
    }

    private static let maximumRounds = 32
    private static let stopped = "The server was stopped or replaced while this was at work; call the tool again."

    private func note(_ message: String, of id: String) {
        guard records[id]?.status == .working else { return }
        records[id]?.progress(message, .now)
        catalog.announce(Changes(subjects: [.task(id)]))
    }

    private func keep(_ record: TaskRecord) async {
        records[record.id] = record
        catalog.announce(Changes(subjects: [.task(record.id)]))
        // One after the other, each with what is so by then. Where this fails the file is older than what is told here,
        // which matters only after a restart.
        let id = record.id
        let earlier = writes[id]
        let write = Task {
            await earlier?.value
            if let record = self.records[id] { try? await self.files?.write(record.json, id) }
        }
        writes[id] = write
        await write.value
        if writes[id] == write { writes[id] = nil }
    }

    private func bytes(of principal: String) -> Int {
        records.values.reduce(0) { $0 + ($1.principal == principal ? $1.size : 0) }
    }

    /// Forgets the oldest results of a principal until another one fits beside them.
    private func makeRoom(for size: Int, of principal: String) async {
        while bytes(of: principal) + size > Self.maximumBytesOfOne, await forgetOldest(of: principal) {}
    }

    /// Drops the task that has been over for longest.
    @discardableResult
    private func forgetOldest(of principal: String) async -> Bool {
        let over = records.values.filter { $0.principal == principal && $0.status.isOver }
        guard let oldest = over.min(by: { $0.updated.seconds < $1.updated.seconds }) else { return false }
        records[oldest.id] = nil
        await files?.remove(oldest.id)
        return true
    }

    private func forgetExpired() async {
        for id in records.filter({ $0.value.isExpired(.now) }).keys {
            records[id] = nil
            await files?.remove(id)
        }
    }

}
