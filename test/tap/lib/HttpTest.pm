# HTTP for tests of `chronos serve`, with nothing but sockets: requests that are none must be possible
# too. And a receiver of webhooks, a process of its own, that keeps what it is sent in a directory.
package HttpTest;

use strict;
use warnings;
use Exporter 'import';
use IO::Select;
use IO::Socket::INET;
use JSON::PP ();
use POSIX ();
use Test::More;
use Time::HiRes qw(sleep time);

our @EXPORT = qw(free_port raw_request get get_steadily wait_for_http start_receiver);

sub free_port
{
	my $socket = IO::Socket::INET->new(Listen => 1, LocalAddr => '127.0.0.1') or die "listen: $!";
	return $socket->sockport;
}

# What comes back for these bytes within some seconds; undef if there is nobody.
sub raw_request
{
	my ($port, $bytes, $timeout) = @_;
	my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port, Timeout => 5) or return;
	local $SIG{PIPE} = 'IGNORE';
	$socket->autoflush(1);
	print $socket $bytes;
	my ($answer, $until) = ('', time + ($timeout // 10));
	while (IO::Select->new($socket)->can_read($until - time > 0 ? $until - time : 0))
	{
		sysread($socket, my $chunk, 65536) or last;
		$answer .= $chunk;
	}
	return $answer;
}

# ($status, $body, \%headers) of a GET; $status is 0 if there is nobody.
sub get
{
	my ($port, $path, %headers) = @_;
	$headers{Host} //= "localhost:$port";
	my $method = delete $headers{method} // 'GET';
	my $answer = raw_request($port,
		"$method $path HTTP/1.1\r\n" . join('', map { "$_: $headers{$_}\r\n" } sort keys %headers) . "Connection: close\r\n\r\n")
	  // return (0, '', {});
	my ($head, $body) = split /\r\n\r\n/, $answer, 2;
	my ($status) = ($head // '') =~ m{^HTTP/1\.1 (\d+)};
	my %found = ($head // '') =~ /^([\w-]+): ([^\r\n]*)/mg;
	return ($status // 0, $body // '', { map { lc($_) => $found{$_} } keys %found });
}

# 200 requests a second for that time, the paths in turn; the answers that are none of these, the seconds
# that the slowest took, and how many there were.
sub get_steadily
{
	my ($port, $seconds, $good, @paths) = @_;
	my ($failed, $slowest, $begin, $count) = (0, 0, time, 200 * $seconds);
	for my $i (0 .. $count - 1)
	{
		my $early = $begin + $i / 200 - time;
		sleep $early if $early > 0;
		my $asked = time;
		++$failed if (get($port, $paths[ $i % @paths ]))[0] !~ $good;
		my $took = time - $asked;
		$slowest = $took if $took > $slowest;
	}
	return ($failed, $slowest, $count);
}

sub wait_for_http
{
	my ($port, $path, $wanted) = @_;
	for (1 .. 300)
	{
		my ($status) = get($port, $path // '/readyz');
		return 1 if $status == ($wanted // 200);
		sleep 0.1;
	}
	return 0;
}

# Returns (port, sub that gives all bodies so far as [path, decoded JSON]). `$dir/refuse` makes it
# answer 500. It ends with the test.
my @children;
sub start_receiver
{
	my ($dir) = @_;
	my $listener = IO::Socket::INET->new(Listen => 20, LocalAddr => '127.0.0.1', ReuseAddr => 1) or die "listen: $!";
	my $parent = $$;
	# Whoever is told to end before it has handlers of its own must not end as the test does.
	local @SIG{qw(TERM INT)} = ('DEFAULT', 'DEFAULT');
	my $pid = fork // die "fork: $!";
	if ($pid == 0)
	{
		my $count = 0;
		while (getppid == $parent)
		{
			next if !IO::Select->new($listener)->can_read(0.2);
			my $client = $listener->accept or next;
			my $text = '';
			while (sysread($client, my $chunk, 65536))
			{
				$text .= $chunk;
				last if $text =~ /\r\n\r\n/ && length($text) - $+[0] >= ($text =~ /content-length: (\d+)/i ? $1 : 0);
			}
			my $status = -e "$dir/refuse" ? '500 No' : '202 Accepted';
			print $client "HTTP/1.1 $status\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
			close $client;
			next if $status !~ /^202/;
			open my $out, '>', sprintf('%s/%04d.new', $dir, ++$count) or POSIX::_exit(1);
			print $out $text;
			close $out;
			rename sprintf('%s/%04d.new', $dir, $count), sprintf('%s/%04d', $dir, $count);
		}
		POSIX::_exit(0);
	}
	push @children, $pid;
	my $received = sub {
		return map {
			open my $in, '<', $_ or die "$_: $!";
			local $/;
			my ($head, $body) = split /\r\n\r\n/, scalar <$in>, 2;
			[ ($head =~ m{^POST (\S+)})[0], JSON::PP::decode_json($body) ]
		} sort glob "$dir/[0-9][0-9][0-9][0-9]";
	};
	return ($listener->sockport, $received);
}

END
{
	local $?;
	kill 'TERM', @children;
	waitpid $_, 0 for @children;
}

1;
