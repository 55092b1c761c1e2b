import KnapJSON

extension WorkerOptions {
    /// What a worker may have: its library, its state directory, what the system's libraries need, and what was granted.
    init(
        _ artifact: Artifact, program: String, context: InstanceContext, environment: [String: String], watchdog: Duration,
        demand: SandboxDemand, user: WorkerUser, controlGroups: ControlGroups
    ) {
        let asked = artifact.manifest.permissions
        let home = environment["HOME"] ?? "/"
        let paths = GrantedPaths(configuration: context.configuration, home: home)
        self.init(
            program: program, library: artifact.path,
            readPaths: [artifact.readable] + SystemPaths.readable + paths.resolve(asked.readPaths),
            writePaths: [context.stateDirectory] + paths.resolve(asked.writePaths),
            listenPorts: asked.listen,
            environment: Self.environment(asked.environment, environment), memoryBytes: artifact.manifest.limits.memoryBytes,
            watchdog: watchdog, demand: demand, user: user, controlGroups: controlGroups)
    }

    private static func environment(_ granted: [String], _ all: [String: String]) -> [String] {
        let names = ["PATH", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH"] + granted
        return Set(names).sorted().compactMap { name in all[name].map { "\(name)=\($0)" } }
    }
}

/// The paths that a manifest asks for, as they are here.
struct GrantedPaths {
    private let configuration: JSON
    private let home: String

    init(configuration: [UInt8], home: String) {
        self.configuration = (try? JSON.parse(configuration)) ?? .null
        self.home = home
    }

    func resolve(_ paths: [String]) -> [String] {
        paths.flatMap { path -> [String] in
            if path.hasPrefix("~/") { return [home + path.dropFirst(1)] }
            guard path.hasPrefix("config:") else { return [path] }
            let value = configuration[String(path.dropFirst(7))]
            return value?.stringValue.map { [$0] } ?? (value?.arrayValue ?? []).compactMap(\.stringValue)
        }
    }
}

/// What every worker may read, because its libraries do: data, so that it can be looked at.
enum SystemPaths {
    static let readable = [
        "/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/usr/share/zoneinfo",
        "/etc/ld.so.cache", "/etc/localtime", "/proc", "/sys/devices/system/cpu", "/sys/fs/cgroup", "/dev/null", "/dev/urandom", "/dev/zero",
    ] + swiftRuntime

    /// Where this process has Swift's runtime from, which plugins in Swift share.
    private static let swiftRuntime: [String] = {
        guard let path = loadedPath(of: "libswiftCore.so"), let slash = path.lastIndex(of: "/") else { return [] }
        return [String(path[..<slash])]
    }()
}
