import Glibc

/// A project to start from: a folder in which `@name@` and the like, in files and their names, stand for what is chosen.
/// Knap's kit for the language, in its folder `knap`, is copied as it is.
struct ProjectTemplate {
    private static let kit = "knap"
    private let source: String
    private let values: [(place: String, value: String)]

    init(_ language: Language, _ plugin: PluginName, templates: String) throws {
        source = "\(templates)/\(language.rawValue)"
        guard FileTree.isDirectory(source) else {
            throw CommandFailure(
                ExitStatus.configuration, "NOT_FOUND", "there is no template for \(language.name) at '\(source)'; install Knap again")
        }
        let inner = [("@name@", plugin.name), ("@identifier@", plugin.identifier), ("@service@", plugin.service)]
        // What is longer first: the other values have places in them.
        values = [("@language@", language.name), ("@test@", language.test), ("@source@", language.source)] + inner
    }

    /// Makes the project in a folder that does not exist, or is empty; it is whole or not there.
    func make(in directory: String) throws {
        if let inside = try? FileTree.names(in: directory), !inside.isEmpty {
            throw CommandFailure(
                ExitStatus.cannotCreate, "ALREADY_EXISTS", "'\(directory)' is there and is not empty; choose another folder with --dir")
        }
        guard !FileTree.isFile(directory) else {
            throw CommandFailure(ExitStatus.cannotCreate, "ALREADY_EXISTS", "'\(directory)' is a file; choose a folder with --dir")
        }
        let part = "\(directory).\(getpid()).part"
        do {
            try copy(source, to: part, isKit: false)
            guard rename(part, directory) == 0 else { throw FileTree.failure(directory) }
        } catch {
            FileTree.remove(part)
            throw error
        }
    }

    private func copy(_ from: String, to: String, isKit: Bool) throws {
        try FileTree.make(to)
        for name in try FileTree.names(in: from) {
            let (inner, target) = ("\(from)/\(name)", "\(to)/\(isKit ? name : filled(name))")
            if FileTree.isDirectory(inner) {
                try copy(inner, to: target, isKit: isKit || name == Self.kit)
            } else {
                let bytes = try FileTree.read(inner)
                try FileTree.write(isKit ? bytes : Array(filled(String(decoding: bytes, as: UTF8.self)).utf8), to: target)
            }
        }
    }

    private func filled(_ text: String) -> String {
        values.reduce(text) { text, each in
            text.split(separator: each.place, omittingEmptySubsequences: false).joined(separator: each.value)
        }
    }
}
