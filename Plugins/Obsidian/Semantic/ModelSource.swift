import Glibc
import Synchronization

/// The model of search by meaning, read from its folder when it is first asked for. All vaults share it.
final class ModelSource: Sendable {
    /// Where the files are or would be.
    let folder: String
    private let model = Mutex<MeaningModel?>(nil)

    init(folder: String) { self.folder = folder }

    /// Whether there is anything at its place.
    var isThere: Bool { access(folder + "/" + MeaningModel.tableFile, R_OK) == 0 }

    /// What tells its vectors from those of another model, without reading it; nil where there is none.
    var identity: String? {
        let sizes = [MeaningModel.tableFile, MeaningModel.tokenizerFile].compactMap { name -> String? in
            var status = stat()
            return stat(folder + "/" + name, &status) == 0 ? "\(status.st_size)" : nil
        }
        return sizes.count == 2 ? sizes.joined(separator: " ") : nil
    }

    /// Tried again whenever it failed: the files may have come meanwhile.
    func get() throws(VaultError) -> MeaningModel {
        do {
            return try model.withLock { model in
                if let model { return model }
                guard isThere else { throw absent }
                let read = try MeaningModel(folder: folder)
                model = read
                return read
            }
        } catch let error as VaultError {
            throw error
        } catch {
            throw VaultError(.failedPrecondition, "search by meaning is not available: \(error); use mode words")
        }
    }

    private var absent: VaultError {
        VaultError(
            .failedPrecondition,
            "search by meaning is not available: its table is not in '\(folder)'; with a network, `Host/run build` fetches it; "
                + "use mode words")
    }
}
