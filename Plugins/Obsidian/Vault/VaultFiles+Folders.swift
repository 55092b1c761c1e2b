import Glibc

/// Folders of a vault as things of their own.
extension VaultFiles {
    /// False for a symbolic link to one.
    func isFolder(_ path: VaultPath) -> Bool {
        guard access.sees(path.text), let parent = try? openFolder(path.folder, creating: false) else { return false }
        defer { close(parent) }
        var status = stat()
        return fstatat(parent, path.name, &status, AT_SYMLINK_NOFOLLOW) == 0 && status.st_mode & S_IFMT == S_IFDIR
    }

    /// Removes a folder with nothing in it; false for another one.
    @discardableResult
    func removeEmptyFolder(_ path: VaultPath) -> Bool {
        guard let parent = try? openFolder(path.folder, creating: false) else { return false }
        defer { close(parent) }
        return unlinkat(parent, path.name, AT_REMOVEDIR) == 0
    }

    /// Whether there is a folder, and nothing in it, not even what is hidden.
    func isEmptyFolder(_ path: VaultPath) -> Bool {
        guard isFolder(path), let folder = try? openFolder(path.text, creating: false) else { return false }
        defer { close(folder) }
        let own = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard own >= 0, let stream = fdopendir(own) else { return false }
        defer { closedir(stream) }
        while let entry = readdir(stream) {
            let name = withUnsafeBytes(of: entry.pointee.d_name) { Array($0.prefix { $0 != 0 }) }
            if name != [0x2E], name != [0x2E, 0x2E] { return false }
        }
        return true
    }
}
