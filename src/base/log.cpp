#include "chronos/base/log.h"

#include <mutex>
#include <utility>

namespace chronos {
namespace {

struct Receiver {
    std::mutex mutex;
    LogReceiver call;
};

Receiver& receiver() {
    static Receiver instance;
    return instance;
}

}  // namespace

std::string_view log_level_name(LogLevel level) noexcept {
    switch (level) {
        case LogLevel::off: return "off";
        case LogLevel::error: return "error";
        case LogLevel::warn: return "warn";
        case LogLevel::info: return "info";
        case LogLevel::detail: return "detail";
        case LogLevel::debug: return "debug";
        case LogLevel::trace: return "trace";
    }
    return "unknown";
}

LogReceiver set_log_receiver(LogReceiver new_receiver) {
    const std::lock_guard lock(receiver().mutex);
    return std::exchange(receiver().call, std::move(new_receiver));
}

void log(LogLevel level, std::string_view text) {
    const std::lock_guard lock(receiver().mutex);
    if (receiver().call) receiver().call(level, text);
}

}  // namespace chronos
