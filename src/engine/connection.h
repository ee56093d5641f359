#pragma once

#include "chronos/db/connection.h"
#include "chronos/engine/channel.h"

namespace chronos::engine {

/// A session of the server process at the other end of the channel: no address, no password.
class ControlConnection final : public db::Connection {
public:
    ControlConnection(Channel& channel, const Cancellation& cancel)
        : channel_(channel), cancel_(cancel) {}
    Result<db::Rows> query(std::string_view sql,
                           const std::vector<std::string>& parameters) override;

private:
    Result<control::Message> receive();
    Result<db::Rows> receive_rows(const control::Message& head);

    Channel& channel_;
    const Cancellation& cancel_;
    std::uint64_t last_id_ = 0;
};

}  // namespace chronos::engine
