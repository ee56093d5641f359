#include "ops/archive/segment_sha1.h"

namespace chronos::ops::archive {

SegmentSha1::SegmentSha1(Thread thread) {
    if (thread == Thread::own) thread_ = std::thread([this] { run(); });
}

SegmentSha1::~SegmentSha1() {
    if (thread_.joinable()) finish();
}

std::shared_ptr<SegmentSha1::Block> SegmentSha1::take() {
    std::unique_lock lock(mutex_);
    if (free_.empty() && made_ < kBlocksMax) {
        ++made_;
        auto block = std::make_shared<Block>();
        block->data = std::make_unique_for_overwrite<std::byte[]>(kBlockSize);
        return block;
    }
    changed_.wait(lock, [&] { return !free_.empty(); });
    std::shared_ptr<Block> block = std::move(free_.back());
    free_.pop_back();
    block->size = 0;
    return block;
}

void SegmentSha1::add(std::shared_ptr<Block> block) {
    if (!thread_.joinable()) {
        sha1_.update(block->bytes());
        free_.push_back(std::move(block));
        return;
    }
    {
        const std::lock_guard lock(mutex_);
        waiting_.push_back(std::move(block));
    }
    changed_.notify_all();
}

std::string SegmentSha1::finish() {
    if (!thread_.joinable()) return sha1_.hex();
    {
        const std::lock_guard lock(mutex_);
        ended_ = true;
    }
    changed_.notify_all();
    thread_.join();
    return sha1_.hex();
}

void SegmentSha1::run() {
    std::unique_lock lock(mutex_);
    for (;;) {
        changed_.wait(lock, [&] { return ended_ || !waiting_.empty(); });
        if (waiting_.empty()) return;
        std::shared_ptr<Block> block = std::move(waiting_.front());
        waiting_.pop_front();
        lock.unlock();
        sha1_.update(block->bytes());
        lock.lock();
        free_.push_back(std::move(block));
        changed_.notify_all();
    }
}

}  // namespace chronos::ops::archive
