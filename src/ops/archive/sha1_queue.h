#pragma once

#include <condition_variable>
#include <deque>
#include <mutex>
#include <string>

#include "chronos/io/stream.h"

namespace chronos::ops::archive {

/// Contents in memory that are to be hashed. Two at a time cost less than one after the other (see
/// crypto::sha1_hex_pair), so whoever gets to hash his own takes one along that waits, as a rule
/// for a place to compute. Any thread.
class Sha1Queue {
public:
    /// A content that waits in the queue until it is hashed, or as long as it lives.
    class Entry {
    public:
        Entry(Sha1Queue& queue, io::Bytes content);
        /// Waits if it is being hashed by another thread.
        ~Entry();
        Entry(const Entry&) = delete;
        Entry& operator=(const Entry&) = delete;
        /// 40 hexadecimal digits. For the thread that made it, which holds no place to compute
        /// (io::CpuTokens) while it waits for another one that is hashing the content.
        std::string get();

    private:
        friend class Sha1Queue;
        Sha1Queue& queue_;
        const io::Bytes content_;
        bool taken_ = false;  ///< another thread is hashing it
        std::string checksum_;
    };

private:
    Entry* take_other(Entry& own);
    void hash(Entry& own);
    void give_back(Entry& other, std::string checksum);

    std::mutex mutex_;
    std::condition_variable hashed_;
    std::deque<Entry*> waiting_;  ///< oldest first
};

}  // namespace chronos::ops::archive
