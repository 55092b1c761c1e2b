import Glibc

/// The whole of a file; nil with errno set when it cannot be had.
func readFile(_ path: String) -> [UInt8]? {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return nil }
    defer { close(descriptor) }
    var bytes: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 64 << 10)
    while true {
        let count = read(descriptor, &chunk, chunk.count)
        if count < 0 {
            if errno == EINTR { continue }
            return nil
        }
        if count == 0 { return bytes }
        bytes += chunk[..<count]
    }
}

/// Puts a file in place of another, or of none, so that a crash leaves one of them whole; false with errno set.
func replaceFile(_ path: String, with bytes: [UInt8], mode: mode_t) -> Bool {
    let part = path + ".part"
    let descriptor = open(part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode)
    guard descriptor >= 0 else { return false }
    let complete = writeAll(descriptor, bytes) && fsync(descriptor) == 0
    let number = errno
    close(descriptor)
    guard complete, rename(part, path) == 0 else {
        let reason = complete ? errno : number
        unlink(part)
        errno = reason
        return false
    }
    return true
}

private func writeAll(_ descriptor: Int32, _ bytes: [UInt8]) -> Bool {
    var rest = bytes[...]
    while !rest.isEmpty {
        let count = rest.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
        if count < 0 {
            if errno == EINTR { continue }
            return false
        }
        rest = rest.dropFirst(count)
    }
    return true
}

/// What a directory holds, in no order; nil with errno set when it cannot be read.
func readDirectory(_ path: String) -> [String]? {
    guard let stream = opendir(path) else { return nil }
    defer { closedir(stream) }
    var names: [String] = []
    while let entry = readdir(stream) {
        let name = withUnsafeBytes(of: entry.pointee.d_name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
        if name != ".", name != ".." { names.append(name) }
    }
    return names
}

/// What the system says of an error number.
func errorText(_ number: Int32) -> String { String(cString: strerror(number)) }

/// Creates a directory and its parents, private to the user; false with errno set.
func makeDirectory(_ path: String) -> Bool {
    if mkdir(path, 0o700) == 0 || errno == EEXIST { return true }
    guard errno == ENOENT, let slash = path.lastIndex(of: "/"), slash != path.startIndex else { return false }
    return makeDirectory(String(path[..<slash])) && (mkdir(path, 0o700) == 0 || errno == EEXIST)
}
