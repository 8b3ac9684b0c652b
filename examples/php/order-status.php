<?php

declare(strict_types=1);

// The tool "order_status": Natter calls it when a member asks where an order
// is. It answers of that member's own orders alone, whatever number it is
// asked for: the model writes the number, Natter says who asks.
require __DIR__ . '/NatterCall.php';
require __DIR__ . '/orders.php';

$settings = require __DIR__ . '/config.php';
$call = NatterCall::receive(tool_secrets($settings['tool_secrets_file']), $settings['calls_dir']);

$member = $call->member($settings['issuer']);
$number = $call->arguments['order'] ?? '';
$order = $member !== null && is_string($number)
    ? find_order($settings['orders_file'], $number) : null;

// Somebody else's order is none: its number says nothing about whose it is.
if ($order === null || $order['member'] !== $member) {
    NatterCall::answer(404, ['error' => 'This member has no order of this number.']);
}
unset($order['member']);
NatterCall::answer(200, $order);
