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
    private let files: (any TaskFiles)?
    private let feed: CatalogFeed

    package init(feed: CatalogFeed, files: (any TaskFiles)? = nil) {
        self.feed = feed
        self.files = files
    }

    /// Reads what an earlier generation left. What was at work then has been lost with it, and says so.
    package func load() async {
        for json in await files?.readAll() ?? [] {
            guard var record = TaskRecord(json), records[record.id] == nil else { continue }
            if record.status == .working {
                record.end(.failure(RPCError(.internalError, "The server was stopped while this was at work.")), .now)
                try? await files?.write(record.json, record.id)
            }
            records[record.id] = record
        }
    }

    /// Starts a task, which is on disk before this returns.
    func create(
        tool: String, arguments: JSONObject, client: ClientIdentity, principal: String, _ work: @escaping Work
    ) async throws(RPCError) -> TaskRecord {
        await forgetExpired()
        let own = records.values.count { $0.principal == principal }
        guard records.count < Self.maximum, own < Self.maximumOfOne, bytes(of: principal) < Self.maximumBytesOfOne else {
            throw RPCError(.internalError, "There are too many tasks; read or cancel some, or wait until they expire.")
        }
        let record = TaskRecord(
            id: Self.newID(), principal: principal, tool: tool, arguments: arguments, client: client, now: .now)
        do {
            try await files?.write(record.json, record.id)
        } catch {
            throw RPCError(.internalError, "The task could not be kept, so it was not started: \(error)")
        }
        records[record.id] = record
        start(record, work)
        return record
    }

    func find(_ id: String, of principal: String) -> TaskRecord? {
        guard let record = records[id], record.principal == principal, !record.isExpired(.now) else { return nil }
        return record
    }

    /// Takes what the client answered; goes on when nothing is missing.
    func update(_ id: String, with answers: JSONObject, _ work: @escaping Work) async {
        guard var record = records[id] else { return }
        let canGoOn = record.take(answers, .now)
        await keep(record)
        if canGoOn { start(record, work) }
    }

    func cancel(_ id: String) async {
        guard var record = records[id] else { return }
        record.cancel(.now)
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
        let outcome: Result<Interaction.Outcome, RPCError>
        do {
            outcome = .success(try await work(record) { await self.note($0, of: id) })
        } catch let error as RPCError {
            outcome = .failure(error)
        } catch {
            outcome = .failure(RPCError(.internalError, "\(error)"))
        }
        running[id] = nil
        // It may have been cancelled meanwhile, which stays.
        guard var record = records[id] else { return }
        switch outcome {
        case .success(.done(let result)):
            let fits = bytes(of: record.principal) + JSON.object(result).approximateSize <= Self.maximumBytesOfOne
            record.end(fits ? .success(result) : .failure(Self.noRoom), .now)
        case .success(.needs(let needs)): record.wait(for: needs, .now)
        case .failure(let error): record.end(.failure(error), .now)
        }
        await keep(record)
    }

    private func bytes(of principal: String) -> Int {
        records.values.reduce(0) { $0 + ($1.principal == principal ? $1.size : 0) }
    }

    private static let noRoom = RPCError(
        .internalError, "The result has no room beside those of other tasks; it is lost. Wait until some have expired.")

    private func note(_ message: String, of id: String) {
        guard records[id]?.status == .working else { return }
        records[id]?.progress(message, .now)
        feed.announce(Changes(subjects: [.task(id)]))
    }

    private func keep(_ record: TaskRecord) async {
        records[record.id] = record
        feed.announce(Changes(subjects: [.task(record.id)]))
        // Where this fails the file is older than what is told here, which matters only after a restart.
        try? await files?.write(record.json, record.id)
    }

    private func forgetExpired() async {
        for id in records.filter({ $0.value.isExpired(.now) }).keys {
            records[id] = nil
            await files?.remove(id)
        }
    }

    /// 128 random bits: who has not been told the id does not find it.
    private static func newID() -> String {
        (0..<2).map { _ in
            let digits = String(UInt64.random(in: .min ... .max), radix: 16)
            return String(repeating: "0", count: 16 - digits.count) + digits
        }.joined()
    }
}
