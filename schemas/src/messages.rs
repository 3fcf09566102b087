//! What each consumer reads: one enum a topic, one variant an event type.

use uuid::Uuid;

use crate::inventory::{
    CommitStock, ReleaseStock, ReserveStock, StockCommitted, StockRejected, StockReleased,
    StockReserved,
};
use crate::order::{OrderCancelled, OrderConfirmed, OrderPlaced};
use crate::payment::{
    AuthorizePayment, CapturePayment, PaymentAuthorized, PaymentCaptured, PaymentDeclined,
    PaymentVoided, VoidPayment,
};

oncebox::messages! {
    /// Facts about orders, on `order.events`.
    pub enum OrderEvent { OrderPlaced, OrderConfirmed, OrderCancelled }
    others skip
}

oncebox::messages! {
    /// Commands to the inventory service, on `inventory.commands`.
    pub enum InventoryCommand { ReserveStock, CommitStock, ReleaseStock }
    others dead_letter
}

oncebox::messages! {
    /// Answers of the inventory service, on `inventory.events`.
    pub enum InventoryEvent { StockReserved, StockRejected, StockCommitted, StockReleased }
    others skip
}

oncebox::messages! {
    /// Commands to the payment service, on `payment.commands`.
    pub enum PaymentCommand { AuthorizePayment, CapturePayment, VoidPayment }
    others dead_letter
}

oncebox::messages! {
    /// Answers of the payment service, on `payment.events`.
    pub enum PaymentEvent { PaymentAuthorized, PaymentDeclined, PaymentCaptured, PaymentVoided }
    others skip
}

macro_rules! order_id {
    ($name:ident { $($event:ident),+ }) => {
        impl $name {
            /// The order that the message is about.
            pub fn order_id(&self) -> Uuid {
                match self {
                    $(Self::$event(event) => event.order_id),+
                }
            }
        }
    };
}

order_id!(OrderEvent {
    OrderPlaced,
    OrderConfirmed,
    OrderCancelled
});
order_id!(InventoryCommand {
    ReserveStock,
    CommitStock,
    ReleaseStock
});
order_id!(InventoryEvent {
    StockReserved,
    StockRejected,
    StockCommitted,
    StockReleased
});
order_id!(PaymentCommand {
    AuthorizePayment,
    CapturePayment,
    VoidPayment
});
order_id!(PaymentEvent {
    PaymentAuthorized,
    PaymentDeclined,
    PaymentCaptured,
    PaymentVoided
});
