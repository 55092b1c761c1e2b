import Glibc

/// Where deleted notes go in the end, as the application's setting has it.
extension Vault {
    /// Takes a note on from the vault's `.trash`, in which every deleted file is put first. Undoing needs it nowhere: its
    /// content is in the journal.
    ///
    /// - Parameter place: Where in the vault it is.
    /// - Returns: Where it is now; nil where it is nowhere.
    func dispose(_ place: String?, of path: VaultPath) -> String? {
        guard let place, path.isLinking else { return place }
        switch appSettings.trashOption {
        case "none": return unlink(files.root + "/" + place) == 0 ? nil : place
        case "system": return SystemTrash.take(files.root + "/" + place, from: files.root + "/" + path.text) ?? place
        default: return place
        }
    }
}

/// The trash of the person who is logged in (freedesktop.org Trash specification 1.0).
enum SystemTrash {
    /// Moves a file there; returns its new place, or nil where it could not be moved, as from another disk.
    ///
    /// - Parameter origin: Where it is to be put back to.
    static func take(_ file: String, from origin: String) -> String? {
        guard let home = folder else { return nil }
        for name in ["", "/files", "/info"] where mkdir(home + name, 0o700) != 0 && errno != EEXIST { return nil }
        let name = String(origin[origin.index(after: origin.lastIndex(of: "/") ?? origin.startIndex)...])
        for attempt in 0..<1000 {
            let free = attempt == 0 ? name : "\(attempt + 1) \(name)"
            let note = "\(home)/info/\(free).trashinfo"
            // The one that makes this file has the name.
            let descriptor = open(note, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
            if descriptor < 0, errno == EEXIST { continue }
            guard descriptor >= 0 else { return nil }
            let text = Array("[Trash Info]\nPath=\(NoteAddress.escaped(origin))\nDeletionDate=\(Timestamp.text(Double(time(nil))))\n".utf8)
            let isWritten = write(descriptor, text, text.count) == text.count
            close(descriptor)
            if isWritten, rename(file, "\(home)/files/\(free)") == 0 { return "\(home)/files/\(free)" }
            unlink(note)
            return nil
        }
        return nil
    }

    private static var folder: String? {
        func variable(_ name: String) -> String? { getenv(name).map { String(cString: $0) }.flatMap { $0.hasPrefix("/") ? $0 : nil } }
        if let data = variable("XDG_DATA_HOME") { return data + "/Trash" }
        return variable("HOME").map { $0 + "/.local/share/Trash" }
    }
}
