/// What `knap` exits with: sysexits.h where it has a word for it. The README and `knap --help` list them.
enum ExitStatus {
    static let ok: Int32 = 0
    static let usage: Int32 = 64
    static let data: Int32 = 65
    static let notFound: Int32 = 66
    static let unavailable: Int32 = 69
    static let software: Int32 = 70
    static let cannotCreate: Int32 = 73
    static let inputOutput: Int32 = 74
    static let temporary: Int32 = 75
    static let permission: Int32 = 77
    static let configuration: Int32 = 78

    /// For a call that failed with a status code of gRPC's.
    static func forCall(status: Int) -> Int32 {
        switch status {
        case 3, 9, 11: data  // INVALID_ARGUMENT, FAILED_PRECONDITION, OUT_OF_RANGE
        case 5: notFound  // NOT_FOUND
        case 6: cannotCreate  // ALREADY_EXISTS
        case 12, 14: unavailable  // UNIMPLEMENTED, UNAVAILABLE
        case 1, 4, 8, 10: temporary  // CANCELLED, DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED, ABORTED
        case 7, 16: permission  // PERMISSION_DENIED, UNAUTHENTICATED
        case 15: inputOutput  // DATA_LOSS
        default: software  // UNKNOWN, INTERNAL and what is not known yet
        }
    }

    static let table = """
        EXIT CODES
          0   done
          64  the command line is wrong
          65  the call was refused as asked (INVALID_ARGUMENT, FAILED_PRECONDITION, OUT_OF_RANGE)
          66  what was asked for is not there (NOT_FOUND)
          69  no host runs, or nobody serves the method (UNAVAILABLE, UNIMPLEMENTED)
          70  an error inside (INTERNAL, UNKNOWN)
          73  it exists already (ALREADY_EXISTS)
          74  data was lost or cannot be written (DATA_LOSS)
          75  try again (DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED, ABORTED, CANCELLED; state directory in use)
          77  not allowed (PERMISSION_DENIED, UNAUTHENTICATED)
          78  not built or configured wrongly; `doctor` found problems
        """
}
