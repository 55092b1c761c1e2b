import Glibc
import KnapJSON

/// Tasks as files of the state directory, one each. Written on a thread for files.
struct TaskFolder: TaskFiles {
    let path: String

    func write(_ task: JSON, _ id: String) async throws {
        try await StateFile.onThread {
            Result { try StateFile.write(task.serialized(), to: file(id), mode: 0o600) }
        }?.get()
    }

    func remove(_ id: String) async { await StateFile.onThread { _ = unlink(file(id)) } }

    func readAll() async -> [JSON] {
        await StateFile.onThread {
            mkdir(path, 0o700)
            guard let folder = opendir(path) else { return [] }
            defer { closedir(folder) }
            var tasks: [JSON] = []
            while let entry = readdir(folder) {
                let name = withUnsafeBytes(of: entry.pointee.d_name) {
                    String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
                }
                guard name.hasSuffix(".json"), let bytes = StateFile.readAll(path + "/" + name) else { continue }
                if let task = try? JSON.parse(bytes) { tasks.append(task) }
            }
            return tasks
        } ?? []
    }

    private func file(_ id: String) -> String { path + "/" + id + ".json" }
}
