#include "ops/backup/store_pipeline.h"

#include <gtest/gtest.h>

#include "random_bytes.h"
#include "result_matchers.h"

namespace chronos::ops::backup {
namespace {

using compress::CompressType;

/// Ends in a string that outlives the pipeline.
class StringSink final : public io::Sink {
public:
    explicit StringSink(std::string& content) : content_(content) {}
    Result<> write(io::Bytes in) override {
        content_.append(io::text(in));
        return {};
    }
    Result<> finish() override { return {}; }

private:
    std::string& content_;
};

StoredAs store(const repo::Encoding& form, std::string_view content, std::string& stored,
               std::optional<PageCheck> check = {}) {
    StorePipeline pipeline(form, std::make_unique<StringSink>(stored), std::move(check));
    EXPECT_OK(pipeline.write(io::bytes(content)));
    auto result = pipeline.finish();
    EXPECT_OK(result);
    return *result;
}

std::string restore(const repo::Encoding& form, std::string_view stored) {
    io::MemorySink plain;
    const auto decompressor =
        compress::make_decompressor(form.compress_type, compress::Form::normal, plain);
    std::unique_ptr<io::Sink> decryptor;
    io::Sink* first = decompressor.get();
    if (form.encrypted()) {
        decryptor =
            crypto::make_decryptor(form.passphrase->secret(), crypto::CipherForm::normal, *first);
        first = decryptor.get();
    }
    EXPECT_OK(first->write(io::bytes(stored)));
    EXPECT_OK(first->finish());
    return plain.content;
}

class StoreForms : public testing::TestWithParam<std::tuple<CompressType, const char*>> {};

TEST_P(StoreForms, DescribeWhatWasStored) {
    const auto [type, passphrase] = GetParam();
    const repo::Encoding form =
        repo::set_encoding(type, compress::default_compress_level(type), passphrase);
    const std::string content = random_text(300'001);
    std::string stored;
    const StoredAs as = store(form, content, stored);
    EXPECT_EQ(as.size, content.size());
    EXPECT_EQ(as.checksum, crypto::sha1_hex(content));
    EXPECT_EQ(as.repo_size, stored.size());
    EXPECT_EQ(as.repo_checksum, form.transforms() ? crypto::sha1_hex(stored) : "");
    EXPECT_TRUE(restore(form, stored) == content);
}

INSTANTIATE_TEST_SUITE_P(All, StoreForms,
                         testing::Combine(testing::Values(CompressType::none, CompressType::gz,
                                                          CompressType::bz2, CompressType::lz4,
                                                          CompressType::zst),
                                          testing::Values("", "a passphrase")),
                         [](const auto& tested) {
                             return std::string(
                                        compress::compress_type_name(std::get<0>(tested.param))) +
                                    (*std::get<1>(tested.param) != '\0' ? "_encrypted" : "");
                         });

// Empty files are stored too: what their compressed form is, other readers compare by checksum.
TEST(StorePipeline, AnEmptyFileHasStoredBytesButNoChecksumOfItsOwn) {
    std::string stored;
    repo::ManifestFile file;
    store(repo::set_encoding(CompressType::gz, 6, ""), "", stored).apply_to(file);
    EXPECT_EQ(file.size, 0u);
    EXPECT_EQ(file.checksum, "");
    EXPECT_EQ(file.repo_size, 20u);
    EXPECT_EQ(file.repo_checksum, "46c6643f07aa7f6bfe7118de926b86defc5087c4");
}

TEST(StorePipeline, BadPagesAreRecordedButAMisalignedFileHasNoList) {
    const auto entry_of = [](std::size_t size) {
        const std::string content(size, 'x');
        std::string stored;
        PageCheck check;
        check.reread = [&](std::uint64_t, io::MutableBytes page) {
            std::fill(page.begin(), page.end(), std::byte{'x'});
            return true;
        };
        repo::ManifestFile file;
        store({}, content, stored, std::move(check)).apply_to(file);
        return file;
    };
    const repo::ManifestFile aligned = entry_of(2 * 8192);
    EXPECT_TRUE(aligned.page_checked);
    EXPECT_TRUE(aligned.page_error);
    EXPECT_EQ(aligned.page_error_ranges, (repo::PageRanges{{0, 1}}));
    const repo::ManifestFile misaligned = entry_of(2 * 8192 + 1000);
    EXPECT_TRUE(misaligned.page_error);
    EXPECT_TRUE(misaligned.page_error_ranges.empty());
}

}  // namespace
}  // namespace chronos::ops::backup
