#pragma once

#include <condition_variable>
#include <mutex>
#include <thread>

#include "chronos/engine/channel.h"

namespace chronos::engine {

/// Says `alive` to the server about once a second, as long as the work of this process goes on
/// (base/activity.h): who stands still, or hangs in a call, says nothing. From the constructor,
/// which says it at once, to the destructor.
class SignsOfLife {
public:
    explicit SignsOfLife(Channel& channel);
    ~SignsOfLife();
    SignsOfLife(const SignsOfLife&) = delete;
    SignsOfLife& operator=(const SignsOfLife&) = delete;

private:
    void run();

    Channel& channel_;
    std::mutex mutex_;
    std::condition_variable wake_;
    bool ending_ = false;
    std::thread thread_;  // last: it uses the others
};

}  // namespace chronos::engine
