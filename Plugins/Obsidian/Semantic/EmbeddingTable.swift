import Glibc
import KnapJSON

/// One vector for each token, in a file of the format safetensors that is mapped into memory: `embedding.weight`, of
/// 16-bit floating-point numbers.
///
/// Only the rows that are asked for are ever read from the disk.
final class EmbeddingTable: Sendable {
    /// The numbers of a vector.
    static let width = 256

    let rows: Int
    /// Never written to and unmapped by nobody before this object ends.
    private let mapping: Mapping
    private let start: Int

    private struct Mapping: Sendable {
        let address: UInt
        let size: Int
    }

    struct Unusable: Error, CustomStringConvertible {
        var description: String
    }

    init(path: String) throws {
        let file = open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else {
            throw Unusable(description: "'\(path)' cannot be read: \(String(cString: strerror(errno)))")
        }
        defer { close(file) }
        var status = stat()
        guard fstat(file, &status) == 0, status.st_size > 8,
            let mapped = mmap(nil, Int(status.st_size), PROT_READ, MAP_PRIVATE, file, 0), mapped != MAP_FAILED
        else { throw Unusable(description: "'\(path)' cannot be mapped") }
        let size = Int(status.st_size)
        do {
            (start, rows) = try Self.layout(UnsafeRawBufferPointer(start: mapped, count: size), path)
        } catch {
            munmap(mapped, size)
            throw error
        }
        mapping = Mapping(address: UInt(bitPattern: mapped), size: size)
    }

    deinit { munmap(UnsafeMutableRawPointer(bitPattern: mapping.address), mapping.size) }

    /// Where the rows begin, and how many they are.
    private static func layout(_ bytes: UnsafeRawBufferPointer, _ path: String) throws -> (start: Int, rows: Int) {
        let length = UInt64(littleEndian: bytes.loadUnaligned(as: UInt64.self))
        guard length <= UInt64(min(bytes.count - 8, 1 << 20)),
            let header = try? JSON.parse(Array(bytes[8..<8 + Int(length)])), let tensor = header["embedding.weight"]
        else { throw Unusable(description: "'\(path)' is no safetensors file with embedding.weight") }
        let shape = (tensor["shape"]?.arrayValue ?? []).compactMap(\.intValue)
        let offsets = (tensor["data_offsets"]?.arrayValue ?? []).compactMap(\.intValue)
        let begin = 8 + Int(length)
        guard tensor["dtype"]?.stringValue == "F16", shape.count == 2, shape[1] == width, offsets.count == 2,
            offsets[0] >= 0, offsets[1] <= bytes.count - begin, shape[0] == (offsets[1] - offsets[0]) / (width * 2)
        else {
            throw Unusable(
                description:
                    "'\(path)' has no embedding.weight of \(width) half-precision numbers per token, or is cut off")
        }
        return (begin + offsets[0], shape[0])
    }

    /// Adds the row of a token to a vector; a token without a row adds nothing.
    func add(_ token: Int32, to sum: inout [Float]) {
        guard token >= 0, token < rows, let base = UnsafeRawPointer(bitPattern: mapping.address) else { return }
        let row = base + start + Int(token) * Self.width * 2
        sum.withUnsafeMutableBufferPointer { sum in
            for place in 0..<Self.width {
                let half = UInt32(UInt16(littleEndian: row.loadUnaligned(fromByteOffset: place * 2, as: UInt16.self)))
                // The exponent is moved to that of a 32-bit number and then corrected, which is exact for every number
                // but the infinite, of which a table has none; the instruction for it is not in every processor.
                sum[place] += Float(bitPattern: (half & 0x8000) << 16 | (half & 0x7FFF) << 13) * 0x1p112
            }
        }
    }
}
