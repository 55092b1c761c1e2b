import NIOCore

/// Lets accepting rest a while when the process has no free descriptor, or the system no memory: the connections that wait
/// would have it try again at once, without end.
final class AcceptingRest: ChannelInboundHandler {
    typealias InboundIn = any Channel

    private static let rest = TimeAmount.milliseconds(200)

    /// False once nobody is to be accepted any more.
    private let goesOn: @Sendable () -> Bool
    private var isResting = false

    init(goesOn: @escaping @Sendable () -> Bool) { self.goesOn = goesOn }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        // NIO closes the channel itself at what cannot be recovered from.
        guard error is IOError, !isResting else { return context.fireErrorCaught(error) }
        isResting = true
        let options = context.channel.syncOptions
        try? options?.setOption(.autoRead, value: false)
        context.eventLoop.assumeIsolated().scheduleTask(in: Self.rest) { [self] in
            isResting = false
            if goesOn() { try? options?.setOption(.autoRead, value: true) }
        }
    }
}
