#include "sha1_queue.h"

#include <utility>

#include "chronos/crypto/hash.h"
#include "chronos/io/cpu_tokens.h"

namespace chronos::ops::archive {

Sha1Queue::Entry::Entry(Sha1Queue& queue, io::Bytes content) : queue_(queue), content_(content) {
    const std::lock_guard lock(queue_.mutex_);
    queue_.waiting_.push_back(this);
}

Sha1Queue::Entry::~Entry() {
    std::unique_lock lock(queue_.mutex_);
    queue_.hashed_.wait(lock, [&] { return !taken_; });
    std::erase(queue_.waiting_, this);
}

std::string Sha1Queue::Entry::get() {
    bool taken = false;
    {
        const std::lock_guard lock(queue_.mutex_);
        taken = taken_;
        if (!taken) std::erase(queue_.waiting_, this);
    }
    if (taken) {
        const io::WaitScope waits;
        std::unique_lock lock(queue_.mutex_);
        queue_.hashed_.wait(lock, [&] { return !taken_; });
    }
    // Also if whoever had taken it could not hash it.
    if (checksum_.empty()) queue_.hash(*this);
    return checksum_;
}

void Sha1Queue::hash(Entry& own) {
    Entry* const other = take_other(own);
    if (other == nullptr) {
        own.checksum_ = crypto::sha1_hex(own.content_);
        return;
    }
    try {
        auto [first, second] = crypto::sha1_hex_pair(own.content_, other->content_);
        own.checksum_ = std::move(first);
        give_back(*other, std::move(second));
    } catch (...) {
        give_back(*other, "");
        throw;
    }
}

/// The oldest that waits, if there is one; it is the caller's until it is given back.
Sha1Queue::Entry* Sha1Queue::take_other(Entry& own) {
    const std::lock_guard lock(mutex_);
    std::erase(waiting_, &own);
    if (waiting_.empty()) return nullptr;
    Entry* const other = waiting_.front();
    waiting_.pop_front();
    other->taken_ = true;
    return other;
}

void Sha1Queue::give_back(Entry& other, std::string checksum) {
    // Notified under the lock: afterwards the queue may be gone.
    const std::lock_guard lock(mutex_);
    other.checksum_ = std::move(checksum);
    other.taken_ = false;
    hashed_.notify_all();
}

}  // namespace chronos::ops::archive
