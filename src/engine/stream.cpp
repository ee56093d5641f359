#include <unistd.h>

#include "chronos/base/text.h"
#include "chronos/ops/archive/stream.h"
#include "chronos/requests/archive_settings.h"
#include "engine/roles.h"

namespace chronos::engine {
namespace {

using control::Message;
using ops::archive::Streamed;
using ops::archive::WalStreamer;

Result<Streamed> take(WalStreamer& streamer, const Message& message) {
    const auto timeline = parse_uint(message.get_or("timeline", ""));
    const auto lsn = Lsn::parse(message.get_or("lsn", ""));
    if (message.verb != "flushed" || !timeline || *timeline == 0 || *timeline > UINT32_MAX || !lsn)
        return Error(ErrorKind::protocol, "unknown message '" + message.verb + "'");
    return streamer.ship(static_cast<Timeline>(*timeline), *lsn);
}

void answer(Channel& channel, const Result<Streamed>& streamed) {
    if (streamed)
        channel.send(Message("streamed")
                         .with("lsn", streamed->until.str())
                         .with("waiting", static_cast<std::uint64_t>(streamed->waiting)));
    else
        channel.send(Message("not-streamed")
                         .with("code", static_cast<std::uint64_t>(streamed.error().kind()))
                         .with("message", streamed.error().message())
                         .with("hint", streamed.error().hint()));
}

}  // namespace

Result<> serve_stream(requests::Context& context, Channel& channel) {
    const config::Config& config = context.config;
    const std::string pg_path = config.get_string("pg1-path");
    if (pg_path.empty())
        return Error(ErrorKind::option_required, "archive-push command requires option: pg1-path");
    WalStreamer streamer(CHRONOS_TRY(requests::archive_push_settings(config)), pg_path + "/pg_wal");
    for (;;) {
        const auto message = channel.receive(context.cancel);
        if (!message && message.error().kind() == ErrorKind::cancelled) return {};
        if (!message) return message.error();
        if (!*message) return {};
        answer(channel, take(streamer, **message));
    }
}

}  // namespace chronos::engine
